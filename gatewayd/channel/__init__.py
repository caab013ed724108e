"""What daemon and worker say to each other, frame by frame.

Two socketpairs a worker, inherited, without a path: nobody else can connect. *Control* carries commands,
pings, calls and their answers, and is never held up by data. *Data* carries what runs produce, in order. A
frame is four bytes of length (big endian) and a MessagePack array whose first element is its name.

Control, daemon to worker
    ``configure``  map                    first frame: what to load (`orders.Configuration` as a map)
    ``start``      order                  begin a run (`orders.RunOrder` as a map); ``ended`` follows on data
    ``cancel``     run_id, attempt        cancel the run's task; ``ended`` follows when nothing of it executes
    ``drain``      run_id | None, reason  hand back one run or all: each ends before its next step, or is
                                          cancelled when ``cut`` comes; ``ended`` with outcome "drained"
    ``merge``      run_id, attempt        a run waits to be merged into this one: take its input at a step
    ``cut``        (none)                 cancel all runs that have been asked to drain
    ``call``       id, method, params, deadline_s
                                          one question; answered by ``answer``
    ``ping``       number                 to the worker's event loop; its ``pong`` shows that the loop turns
    ``stack``      number                 to the worker's reader thread, which answers also when the loop is
                                          blocked
    ``withdraw``   run_id, attempt        to the reader thread: give back a run that the loop has not begun
    ``reply``      number, ok, payload    answer to an ``ask``
    ``stop``       (none)                 end the process: no runs are left

Control, worker to daemon
    ``hello``      pid, versions          first frame
    ``loaded``     (none)                 the project is loaded; runs and calls may come
    ``failed``     message, trace         the project could not be loaded; the process ends. `trace`: the
                                          traceback from the project's first frame on, or empty
    ``answer``     id, ok, payload        result of a call, or its error (`refusals`)
    ``read_failed``  code, name, text     the database could not be read: SQLite's error
    ``ask``        number, method, params
                                          a call into the service worker (the long-term store); answered by
                                          ``reply``
    ``pong``       number
    ``stack``      number, place, text, run_id
                                          where the loop's thread is: innermost file:line of user code, whole
                                          stack, and the run whose task or callback it is in ("": none)
    ``withdrawn``  run_id, attempt        the run was not begun in this attempt, and will not be

Data, worker to daemon; `n` counts a run's data frames from 1 in every attempt
    ``events``      run_id, attempt, n, count, packed [, parts, blobs]
                                          consecutive events (`model.event`); if some have whole states in
                                          parts: [[manifest, size], …], and new blobs
    ``parts``       run_id, attempt, n, blobs
                                          blobs of a frame that follows, which would have too many
    ``checkpoint``  run_id, attempt, n, operation
                                          one saver operation (`checkpointing.rows`)
    ``ended``       run_id, attempt, n, outcome
                                          the last frame of a run in this attempt; `values` and `result` in it
                                          are JSON or manifests, `blobs` are new ones of both

Data, daemon to worker
    ``ack``     [[run_id, attempt, n], …]
                                          frames up to n are committed
    ``refuse``  run_id, attempt, n, why   frame n was not stored; the run fails at its next saver call

Order
    What a run sends arrives, is numbered, committed and acknowledged in the order of sending. A checkpoint is
    sent only after the events that were emitted before it, so that a crash repeats events but never loses
    one.

Flow
    Each run has a window (1 MiB) of bytes sent and not yet acknowledged. Beyond it the run waits at its next
    step; what a single step emits meanwhile is kept by the worker up to a limit (64 MiB), beyond which the
    run ends with an error that says so. Threads of synchronous nodes wait at half of that limit. The daemon
    stops reading data only while the writer's backlog is too long.

Failure
    A frame is accepted only from the connection and the attempt to which the daemon gave the run; others are
    dropped. End of file on either socket means that the other side is gone: the worker's reader thread calls
    ``os._exit`` at once, whatever its loop does; the daemon treats it as the worker's death. If anything else
    ends the thread, it logs the error and the exit code is `frames.EXIT_FAILED`. A frame that can't be
    decoded or is longer than `frames.LONGEST` is a bug: the connection is closed and the worker killed.
"""
