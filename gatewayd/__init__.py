"""gatewayd: a self-hosted server for LangGraph agents on one box.

Two kinds of processes on one SQLite file. The *daemon* speaks HTTP, admits runs, gives them to workers and
stores what comes back; it imports neither langgraph nor code of the project. *Workers* execute graphs and
answer what needs them.

Where things are, from the socket inwards (each package's docstring is its design):

    cli                  the command line
    daemon, commands     the process that serves: socket, signals, exit codes; report, compact, import
    api, reload          HTTP: parse, call one thing, reply; asking a daemon to load the project again
    services             the composition root: which part gets which other, and how they start and stop
    health               what is wrong with the server, for probes and operators
    crons                what is due by the clock
    maintenance          removing what is not kept any longer, and threads whose time is over
    threads, assistants  what requests about them mean
    runs                 the life of a run: admission, starting, cancelling, ending, what a restart does
    webhooks, items      telling the end of a run to a URL; the long-term store
    serving              the project that is served now
    supervisor           the worker processes as the daemon sees them
    streams              the log of each thread and the cursors over it; how events look in a protocol
    storage              one operation per state change; above it no SQL is known
    worker               the worker process: graphs, saver, state, store
    channel              what daemon and worker say to each other, frame by frame
    checkpointing        langgraph's checkpoints as rows, shared by writer and worker
    blobs                large values in pieces, each stored once
    datadir              the files of the data directory, and which process holds it
    tasks, logs          tasks with an owner; structured logs
    permissions          who may read the files
    loops                loops that go on after errors, and what health knows of them
    settings, project    what the operator decides; langgraph.json
    parsing              the program of the processes in which large bodies are parsed
    limits, structure    what bodies may have at most; counting the values of a JSON text
    wire, model          JSON; plain records and the states of a run
    errors, ids          the errors that cross layers; identifiers
    excerpts             the beginnings of texts that are too long
    histogram            counting numbers by their size
    manual               the pages that `gatewayd help` prints

Imports go down this list, never up, and import-linter proves it (pyproject.toml); `worker` is imported by the
command alone. The way of a run: `api.resources.runs` → `api.admission` → `runs.admission` → `storage` →
`runs.dispatch` → `channel` → `worker.core` → `worker.runs.execute` → `worker.runs.outbox` → back over the
channel → `runs.intake` → `streams.log` → `storage` → `streams.hub` → `api.streaming.sse`.

Terms. *Assistant, thread, run, cron, checkpoint, interrupt* are the API's. What is ours:

    daemon        the process that speaks HTTP and owns the database
    worker        a process that executes graphs; a *run worker* executes runs, the *service worker* answers
                  questions about states, a *quarantine* worker executes one suspect run
    replica       a worker that the settings ask for; its processes follow each other
    active run    a run that a worker has, in one attempt; all of them are *in flight*
    attempt       one execution of a run by one worker, counted from 1
    requeue       to make a run that was executing pending again; it resumes from its last checkpoint
    hand back     what a worker does with a run that it is to leave at the next step: it is requeued, without
                  a strike
    strike        a death of a run's worker without progress of the run; too many put it aside
    suspect       a run with strikes, or at which the daemon died; it executes alone
    fenced off    recorded as ended although something of it may still execute; what it sends is refused
    thread lock   the right to change a thread's state: one run or one operation has it
    log, chunk    all events of a thread in their order; the part of it that is stored and read at once
    cursor        a reader's place in a log
    gap           events that a reader has missed because they are not kept any more
    projection    what storage keeps of a state for searches and lists: values, next nodes, interrupts
    blob, manifest  a piece of a large value, stored once; the list of the pieces of one value
"""

__version__ = "0.1.0"
