"""The worker process: the only place that imports langgraph and the user's code.

One program, two roles. A *run worker* executes runs, a *service worker* answers calls; which one it is comes
with the first frame. The rooms, from top to bottom; `runs`, `service` and `store` do not know each other:

- `main`      the life of the process around it all.
- `core`      hands the frames to those they are for. It knows no transport beyond `process.link`, so that it
              also runs inside another process (tests, a debugger).
- `runs`      the execution of a run, from its order to its last frame.
- `service`   states, histories, updates and descriptions, for the daemon that has been asked for them.
- `store`     the long-term store that graphs get by `get_store()`.
- `states`    the checkpointer that graphs run with, serialising, and how states are shown.
- `project`   importing the user's code, graphs and their factories.
- `langgraph_internals`  what of langgraph is relied on though its authors do not promise it.
- `process`   the two sockets, the event loop, the threads, what user code prints.

How a run goes through here
    `core` gets ``start``; `runs.execute.Execution` opens the graph (`project.graphs`), finds out where the
    run goes on (`runs.resume`), drives ``graph.astream`` and hands what it yields to the run's
    `runs.outbox.Outbox`; the saver (`states.checkpoints`) hands its operations to the same outbox. (That
    the run has started is told by the daemon, before.) The outbox keeps the order (a checkpoint never
    before the events emitted before it), the window and the backlog, and packs frames. Between two steps a
    run may take the input of another (`runs.merging`). The last frame says how the run ended and what the
    thread's state is now (`states.projection`). Whole states go out in parts, each part once
    (`states.parts`).

Threads
    The event loop runs the graphs; synchronous nodes run in a pool (`process.threads`), which knows for
    each run what still executes, and holds them up when they emit faster than is stored (`process.pacing`).
    A reader thread owns what comes in: it answers ``stack`` even when the loop is blocked, wakes those who
    wait for a commit, and ends the process when the daemon is gone. A sender thread exists for the moments
    when the daemon reads slower than a run writes.
"""
