"""The worker processes as the daemon sees them: started, watched, replaced, and asked.

Two roles of one program (`gatewayd.worker`): *run workers* execute runs, up to `jobs_per_worker` each; one
*service worker* answers what requests wait for (state, history) and never executes a run. *Quarantine*
workers are run workers started in addition, for one suspect run each (a run during which a process died
before), at most two at a time; so a run that kills its process kills nobody else, and nobody waits for it.

`process` starts a worker and knows its end, `link` speaks its two sockets, `life` says in which phase it is
and what its end means, `pulse` whether its event loop turns. `worker` puts these together for one process,
`supervisor` keeps them all.

The plan says how many workers there are: each is a *replica* (service, run-1, run-2, …), which has one worker
at a time (`replicas`). A worker that is to be replaced is *retired* (`Supervisor.retire`): the replica's next
worker is started at once, while the old one hands back its runs and ends (`drain`). This happens to a worker
that has had its number of runs, to one that does not obey a cancel, and at a reload (`Replicas.reload`),
where the next worker is ready before the old one goes. So a replica may have several processes for a while,
of which one counts.

What happens on failure
    The process ends, or a socket does: the worker is gone. Its runs are reported to the manager, which
    requeues them; its calls fail with `Unavailable`; a new worker takes its place, at once the first time,
    then more slowly.
    The project can't be loaded, or the service worker ends three times while it loads it (ten times if
    somebody kills it): at the first start that ends the daemon (exit code 78, decided by the daemon). Later
    it is logged and tried again, while the workers that still live go on. Loading takes long: the log says
    where it is.
    The project can't be loaded at a reload: the workers that are there go on, and who has asked is told why.
    It can't read the database for a call: it tells SQLite's code, and the call fails with the error that the
    daemon would have raised itself; damage stops the daemon's writing, even if only a run has met it. Only a
    call whose worker ended is asked once more.
    It uses more memory than it may (`memory`): it is killed, which is a death like any other.
    It does not let go of its runs when it is retired: they are cut, then it is killed; the runs are not to
    blame.
    It stops answering pings: its stack is asked for and logged with file and line; if not even its reader
    thread can run (C code holds the interpreter), a signal makes the process write its stacks to stderr. It
    gets no new runs, and gives back those that its loop has not begun. After `blocked_s` another worker takes
    its place in the replica. If several runs are in it at `KILLED_AFTER` times that, it is killed, for
    nothing less stops the threads of its runs: the run whose task the loop is in goes on in a quarantine
    worker (all of them, if that can't be told), the others in ordinary ones, and none gets a strike. One that
    is left with a single run stays (the graph may come back), unless a cancel or a stop has to be made true
    or there are too many of them. The service worker is replaced when it has been blocked for as long as a
    call may take.
    The daemon dies: each worker sees the end of its sockets and exits at once; on Linux the kernel kills it
    too. What it has started and left behind (a mark in the environment tells it) is killed by the next
    daemon.
"""
