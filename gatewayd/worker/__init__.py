"""The worker process: the only place that imports langgraph and the user's code.

One program, two roles. A *run worker* executes runs (`execute`), a *service worker* answers calls (`state`);
which one it is comes with the first frame. `link` speaks the two sockets to the daemon, `core` hands the
frames to whoever they are for, `process` is the life of the process around it, on the event loop of `loop`.
`core` knows no transport beyond `link`, so that it also runs inside another process (tests, a debugger).

How a run goes through here
    `core` gets ``start``; `execute.Execution` opens the graph (`graphs`), finds out where the run goes on
    (`resume`), drives ``graph.astream`` and hands what it yields to the run's `outbox.Outbox`; the saver
    (`checkpoints`) hands its operations to the same outbox. (That the run has started is told by the daemon,
    before.) The outbox keeps the order (a checkpoint never before the events emitted before it), the window
    and the backlog, and packs frames. Between two steps a run may take the input of another (`merging`). The
    last frame says how the run ended and what the thread's state is now (`projection`). Whole states go out
    in parts, each part once (`parts`).

Threads
    The event loop runs the graphs; synchronous nodes run in a pool (`threads`), which knows for each run what
    still executes, and holds them up when they emit faster than is stored (`pacing`). A reader thread owns
    what comes in: it answers ``stack`` even when the loop is blocked, wakes those who wait for a commit, and
    ends the process when the daemon is gone. A sender thread exists for the moments when the daemon reads
    slower than a run writes.
"""
