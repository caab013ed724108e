"""What makes a process a worker: its two sockets, its event loop, its threads, and what user code prints."""
