"""The server's settings: one frozen record, each field with its meaning, unit, default and sources.

Every field has a variable ``GATEWAYD_<FIELD>``; some are known by a name of the reference server too. The
sources, the first that has a value wins: flags, the ``env`` of langgraph.json, the process's environment, the
default. Within one source the ``GATEWAYD_`` name wins over the reference's. An empty variable counts as
absent (unit files and compose files can't leave one out), but for the CORS origins, where it means that none
are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal

from attrs import Attribute, Factory, evolve, field, fields, frozen
from yarl import URL

from gatewayd import project
from gatewayd.errors import BadConfiguration
from gatewayd.model.retention import STRATEGIES, Retention

PREFIX: Final = "GATEWAYD_"
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400

REFUSED: Final = {
    "GATEWAYD_API_KEYS": "authentication is not supported yet; the server would be open",
    "LANGGRAPH_AUTH": "authentication is not supported yet; the server would be open",
    "LANGGRAPH_AUTH_TYPE": "authentication is not supported yet; the server would be open",
    "LANGGRAPH_ENCRYPTION": "encryption is not supported yet; the data would be stored in the clear",
    "LANGGRAPH_AES_JSON_KEYS": "encryption of JSON fields is not supported yet; they would be stored in the clear",
}
"""Variables whose silent absence would be dangerous, and why."""

IN_THE_CLEAR: Final = "events, threads' values, runs' inputs and results, webhooks and the long-term store"
"""What a key for the checkpoints does not protect."""

FOREIGN_STORES: Final = (
    "POSTGRES_URI",
    "POSTGRES_URI_CUSTOM",
    "DATABASE_URI",
    "REDIS_URI",
    "REDIS_URI_CUSTOM",
    "REDIS_CLUSTER",
    "REDIS_KEY_PREFIX",
    "REDIS_MAX_CONNECTIONS",
    "LANGGRAPH_POSTGRES_POOL_MAX_SIZE",
    "LS_DEFAULT_CHECKPOINTER_BACKEND",
    "LS_MONGODB_URI",
)
"""Variables of the reference that say where data live; here they live in the data directory."""

UNHONOURED: Final = {
    "MOUNT_PREFIX": "routes begin at /",
    "LANGGRAPH_HTTP": "the section `http` is read from langgraph.json only",
    "LANGGRAPH_STORE": "the section `store` is read from langgraph.json only",
    "LANGGRAPH_CHECKPOINTER": "the section `checkpointer` is read from langgraph.json only",
    "LANGGRAPH_WEBHOOKS": "the section `webhooks` is read from langgraph.json only",
    "LANGSERVE_GRAPHS": "the graphs are read from langgraph.json only",
    "LANGGRAPH_SERVER_HOST": "GATEWAYD_HOST sets the address",
    "LANGGRAPH_SERVER_PORT": "GATEWAYD_PORT sets the port",
}
"""Variables of the reference that change its behaviour and not ours."""

Network = IPv4Network | IPv6Network
Parse = Callable[[Any], Any]
"""From a flag's value or a variable's text to the field's value; a ValueError says what it must be."""


def _between(kind: type[int] | type[float], low: float, high: float) -> Parse:
    demand = f"must be {'a whole number' if kind is int else 'a number'} from {low} to {high}"

    def parse(value: Any) -> int | float:
        try:
            number = kind(value)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(demand) from None
        if not low <= number <= high:  # false for nan, too
            raise ValueError(demand)
        return number

    return parse


def _whole(low: int, high: int) -> Parse:
    return _between(int, low, high)


def _seconds(low: float, high: float) -> Parse:
    return _between(float, low, high)


def _one_of(*words: str) -> Parse:
    def parse(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return word

    return parse


SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
THOUSANDS: Final = "kmgt"


def _bytes(value: Any) -> int:
    match = SIZE.fullmatch(str(value).strip())
    if match is None or (not match[2] and match[3]):
        raise ValueError("must be a number of bytes, with a unit if need be: 500MB, 10GB, 1.5TiB")
    base = 1024 if match[3] else 1000
    size = int(float(match[1]) * base ** (THOUSANDS.index(match[2].lower()) + 1 if match[2] else 0))
    if size > 1 << 60:
        raise ValueError("must be less than 2^60 bytes")
    return size


def _flag(value: Any) -> bool:
    match str(value).strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
        case _:
            raise ValueError("must be true or false")


def _strikes(value: Any) -> int:
    # The reference's 0 ("no retry") is our 1: put aside at the first strike.
    return max(1, int(_whole(0, 100)(value)))


def _host(value: Any) -> str:
    host = str(value).strip()
    if not host or any(character.isspace() or character == "/" for character in host):
        raise ValueError("must be a host name or an address")
    return host


def _origins(value: Any) -> tuple[str, ...]:
    return tuple(origin for part in str(value).split(",") if (origin := part.strip().rstrip("/")))


NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def _hosts(value: Any) -> tuple[str, ...]:
    return tuple(_own_name(part.strip()) for part in str(value).split(",") if part.strip())


def _own_name(part: str) -> str:
    try:
        host = URL.build(scheme="http", host=part.strip("[]")).raw_host or ""
    except ValueError:
        host = ""
    host = host.removesuffix(".")
    if not (":" in host or NAME.fullmatch(host)):
        raise ValueError(
            "must be host names, separated by commas, without scheme and port: agents.example.com, box.lan"
        )
    return host


def _networks(value: Any) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in str(value).split(",") if part.strip())
    except ValueError:
        raise ValueError(
            "must be addresses or networks, separated by commas: 10.0.0.5, 172.16.0.0/12"
        ) from None


def _level(value: Any) -> str:
    word = str(value).strip().upper()
    word = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(word, word)
    if word not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return word


def _levels(value: Any) -> tuple[tuple[str, str], ...]:
    levels = []
    for part in filter(None, (part.strip() for part in str(value).split(","))):
        name, sign, level = part.partition("=")
        if not (sign and name.strip()):
            raise ValueError("must be loggers and their levels: my_agent=DEBUG,httpx=WARNING")
        levels.append((name.strip(), _level(level)))
    return tuple(levels)


def _setting(default: Any, parse: Parse, *reference: str) -> Any:
    """Return the attrs field of a setting; `reference` are the reference server's names of its variable."""
    return field(default=default, metadata={"parse": parse, "reference": reference})


@frozen(kw_only=True)
class Settings:
    """What the operator decides; constructed by `load`, or by a test with the fields it cares for."""

    config: Path = _setting(Path("langgraph.json"), Path)  # noqa: RUF009  it makes an attrs field
    """
    The project's file. Default: ./langgraph.json. Set by --config, GATEWAYD_CONFIG (not in the project's
    env).
    """

    host: str = _setting("127.0.0.1", _host)
    """The address to listen on. Default: 127.0.0.1, this machine only. Set by --host, GATEWAYD_HOST."""

    hosts: tuple[str, ...] = _setting((), _hosts)
    """
    Names by which clients call the server, in variables separated by commas; loopback names, IP addresses and
    a name that it listens on need not be named. Requests for other names are refused (403), and pages from
    these names may call. Default: none. Set by GATEWAYD_HOSTS.
    """

    port: int = _setting(2024, _whole(0, 65535))
    """The TCP port; 0 takes a free one. Default: 2024. Set by --port, GATEWAYD_PORT."""

    data_dir: Path = _setting(  # noqa: RUF009  it makes an attrs field
        Factory(lambda self: self.config.parent / ".gatewayd", takes_self=True), Path
    )
    """
    The folder of the database and all other state, made if missing. Default: $STATE_DIRECTORY (systemd's),
    else .gatewayd beside the project's file. Set by --data-dir, GATEWAYD_DATA_DIR (in the project's env:
    relative to the project's folder, otherwise to the current directory).
    """

    workers: int = _setting(1, _whole(1, 64))
    """Number of run workers (processes). Default: 1. Set by --workers, GATEWAYD_WORKERS."""

    jobs_per_worker: int = _setting(10, _whole(1, 1000), "N_JOBS_PER_WORKER")
    """
    Number of runs that one run worker executes at once. Default: 10. Set by --jobs-per-worker
    (--n-jobs-per-worker), GATEWAYD_JOBS_PER_WORKER, N_JOBS_PER_WORKER.
    """

    worker_max_runs: int = _setting(0, _whole(0, 1_000_000_000))
    """
    Number of runs after which a run worker makes room for a new process; 0: never. Default: 0. Set by
    --worker-max-runs, GATEWAYD_WORKER_MAX_RUNS.
    """

    worker_memory: int = _setting(0, _whole(0, 1024 * GIB))
    """
    Bytes of memory (RSS, without child processes) beyond which a worker is killed; 0: no limit. Default: 0.
    Set by --worker-memory, GATEWAYD_WORKER_MEMORY.
    """

    worker_blocked_s: float = _setting(10.0, _seconds(0.5, DAY_S))
    """
    Seconds for which a worker's event loop may be blocked until another worker takes its place. If other runs
    are in it after three times as long more, it is killed: the run that blocks it goes on alone, the others
    elsewhere. Default: 10. Set by GATEWAYD_WORKER_BLOCKED_S.
    """

    job_timeout_s: float = _setting(86_400.0, _seconds(0.01, 366 * DAY_S), "BG_JOB_TIMEOUT_SECS")
    """
    Seconds a run may execute, all its attempts together, before it ends as `timeout`. Default: 86400, a day.
    Set by GATEWAYD_JOB_TIMEOUT_S, BG_JOB_TIMEOUT_SECS.
    """

    max_retries: int = _setting(3, _strikes, "BG_JOB_MAX_RETRIES")
    """
    Number of strikes (deaths of its process without progress) at which a run is put aside; 0 counts as 1.
    Default: 3. Set by GATEWAYD_MAX_RETRIES, BG_JOB_MAX_RETRIES.
    """

    drain_s: float = _setting(5.0, _seconds(0, 3600), "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS")
    """
    Seconds that runs still in a step may go on when the server stops, before they are cancelled and handed
    back. Default: 5. Set by GATEWAYD_DRAIN_S, BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS.
    """

    cancel_deadline_s: float = _setting(10.0, _seconds(0.01, 3600))
    """
    Seconds a cancelled run has to end before its worker is replaced. Default: 10. Set by
    GATEWAYD_CANCEL_DEADLINE_S.
    """

    call_deadline_s: float = _setting(30.0, _seconds(0.01, 3600))
    """
    Seconds a request waits for a worker's answer (then 504). Default: 30. Set by GATEWAYD_CALL_DEADLINE_S.
    """

    heartbeat_s: float = _setting(5.0, _seconds(0.01, 300))
    """Seconds of silence after which a stream sends a heartbeat. Default: 5. Set by GATEWAYD_HEARTBEAT_S."""

    ping_s: float = _setting(20.0, _seconds(0.01, 300))
    """
    Seconds of silence after which the client of a WebSocket is sent a PING, which it has to answer in half
    that time. Default: 20. Set by GATEWAYD_PING_S.
    """

    linger_s: float = _setting(120.0, _seconds(0, 30 * DAY_S))
    """
    Seconds for which an ended stateless run can still be fetched before its thread is deleted. Default: 120.
    Set by GATEWAYD_LINGER_S.
    """

    idempotency_ttl_s: float = _setting(float(DAY_S), _seconds(1, 366 * DAY_S))
    """
    Seconds for which the repeat of a request with an Idempotency-Key is recognised. Default: 86400, a day.
    Set by GATEWAYD_IDEMPOTENCY_TTL_S.
    """

    webhook_secret: str = _setting("", str)
    """
    Signs webhooks: `X-Gatewayd-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of "<seconds>.<body>">`. Default:
    none, no signature. Set by GATEWAYD_WEBHOOK_SECRET.
    """

    webhook_timeout_s: float = _setting(30.0, _seconds(0.01, 600))
    """Seconds a webhook's receiver has to answer. Default: 30. Set by GATEWAYD_WEBHOOK_TIMEOUT_S."""

    webhook_private: Literal["allow", "refuse"] = _setting("refuse", _one_of("allow", "refuse"))
    """
    Whether webhooks may be sent into private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7);
    hosts that are named in `webhooks.url.allowed_domains` may be there anyway. Default: refuse. Set by
    GATEWAYD_WEBHOOK_PRIVATE.
    """

    webhook_log_s: float = _setting(7.0 * DAY_S, _seconds(0, 366 * DAY_S))
    """
    Seconds for which the log of a webhook's delivery is kept after its run's end. Default: 604800, 7 days.
    Set by GATEWAYD_WEBHOOK_LOG_S.
    """

    replay_window_s: float = _setting(120.0, _seconds(0, 30 * DAY_S), "RESUMABLE_STREAM_TTL_SECONDS")
    """
    Seconds after a run's end during which a reader of its thread who names no place in the log still gets its
    events. Default: 120. Set by GATEWAYD_REPLAY_WINDOW_S, RESUMABLE_STREAM_TTL_SECONDS.
    """

    v2_hold: int = _setting(250, _whole(0, 10_000))
    """
    Milliseconds for which an SDK's open event streams (protocol v2, no browser's) wait with the events of a
    run that the SDK has just started, unless it asks again on the thread before, and for which a front end's
    new stream waits for the command that starts a run; 0: not at all. Default: 250. Set by GATEWAYD_V2_HOLD.
    """

    v2_places: bool = _setting(False, _flag)
    """
    Tell streams of protocol v2 the parents and steps of checkpoints, from which front ends know the place to
    which an edit goes back. Only for those with version 1.15 or later of the JavaScript SDK: with 1.11, which
    `@langchain/react` 1.1 brings along, an edited message would be appended. Default: 0. Set by
    GATEWAYD_V2_PLACES.
    """

    events_ttl_s: float = _setting(7.0 * DAY_S, _seconds(0, 3650 * DAY_S))
    """
    Seconds after a run's end for which its events are kept, so that a reader with an event id can go on from
    there; 0: for ever. Default: 604800, a week. Set by GATEWAYD_EVENTS_TTL_S.
    """

    hub_memory: int = _setting(64 * MIB, _whole(MIB, 64 * GIB))
    """Bytes of memory for the live tails of all streams. Default: 64 MiB. Set by GATEWAYD_HUB_MEMORY."""

    run_window: int = _setting(MIB, _whole(4 * KIB, GIB))
    """
    Bytes of events a run may have unacknowledged before it waits at its next step. Default: 1 MiB. Set by
    GATEWAYD_RUN_WINDOW.
    """

    run_backlog: int = _setting(64 * MIB, _whole(4 * KIB, 64 * GIB))
    """
    Bytes of events a run may pile up inside one step before it ends as `error`; not less than the window.
    Synchronous nodes don't get there: they wait in their thread until half of it is stored. Default: 64 MiB.
    Set by GATEWAYD_RUN_BACKLOG.
    """

    max_body_bytes: int = _setting(100 * MIB, _whole(KIB, 2 * GIB), "HTTP_MAX_REQUEST_BODY_BYTES")
    """
    Bytes of a request's body beyond which it is refused (413). Default: 100 MiB. Set by
    GATEWAYD_MAX_BODY_BYTES, HTTP_MAX_REQUEST_BODY_BYTES.
    """

    max_connections: int = _setting(10_000, _whole(1, 1_000_000))
    """
    Number of connections beyond which further ones are refused (503); fewer if the limit of open files leaves
    no room for them. Default: 10000. Set by GATEWAYD_MAX_CONNECTIONS.
    """

    max_per_address: int = _setting(500, _whole(0, 1_000_000))
    """
    Number of connections of one address (IPv6: of one /64) beyond which further ones are refused (503), and
    of requests under way that a proxy passes on for one; 0: no limit. Connections from this machine and from
    trusted proxies have none. Default: 500. Set by GATEWAYD_MAX_PER_ADDRESS.
    """

    trusted_proxies: tuple[Network, ...] = _setting((), _networks)
    """
    Addresses and networks of proxies that let in only those who may, and whose `X-Forwarded-For` says whose a
    request is, in variables separated by commas. Without authentication what another proxy passes on from
    elsewhere is refused (403); for the limits of connections those on this machine need not be named.
    Default: none. Set by GATEWAYD_TRUSTED_PROXIES.
    """

    receive_timeout_s: float = _setting(30.0, _seconds(1, 3600))
    """
    Seconds after which a request is ended (408) of whose head or body nothing more comes, or less than 1 kB a
    second over that time. Default: 30. Set by GATEWAYD_RECEIVE_TIMEOUT_S.
    """

    max_body_values: int = _setting(1_000_000, _whole(1000, 1_000_000_000))
    """
    Number of values, at all levels, of a request's body beyond which it is refused (422). Default: 1,000,000.
    Set by GATEWAYD_MAX_BODY_VALUES.
    """

    max_body_ratio: int = _setting(100, _whole(1, 1_000_000))
    """
    How many times its size a compressed body may become, once that is more than a MiB; beyond it is refused
    (413). Default: 100. Set by GATEWAYD_MAX_BODY_RATIO.
    """

    max_metadata_values: int = _setting(10_000, _whole(1, 1_000_000_000))
    """
    Number of values, at all levels, in the `metadata`, `config` or `context` of a request beyond which it is
    refused (422). Default: 10,000. Set by GATEWAYD_MAX_METADATA_VALUES.
    """

    max_metadata_bytes: int = _setting(64 * KIB, _whole(KIB, GIB))
    """
    Bytes of the `metadata` of a request beyond which it is refused (422). Default: 64 KiB. Set by
    GATEWAYD_MAX_METADATA_BYTES.
    """

    max_ids: int = _setting(1000, _whole(1, 1_000_000))
    """
    Number of ids that a request may list (`ids`, `thread_ids`, `run_ids`); beyond it is refused (422).
    Default: 1,000. Set by GATEWAYD_MAX_IDS.
    """

    max_batch: int = _setting(1000, _whole(1, 1_000_000))
    """
    Number of runs that `/runs/batch` makes at once; beyond it is refused (422). Default: 1,000. Set by
    GATEWAYD_MAX_BATCH.
    """

    search_scan: int = _setting(50_000, _whole(1, 1_000_000_000))
    """
    Number of threads that one search looks at, at most, when no index answers it (a filter on values, or on
    what is not a single value at the top of the metadata). A search that needs more answers what it has
    found, with the header `X-Search-Incomplete`; a count is refused. Default: 50000. Set by
    GATEWAYD_SEARCH_SCAN.
    """

    unknown_fields: Literal["ignore", "refuse"] = _setting("ignore", _one_of("ignore", "refuse"))
    """
    What becomes of fields of a body that are not known: ignore (and name them in `X-Gatewayd-Ignored-Fields`
    and the log), refuse (422). Near misses of known fields are refused in any case. Default: ignore. Set by
    GATEWAYD_UNKNOWN_FIELDS.
    """

    cors_allow_origins: tuple[str, ...] = _setting((), _origins, "CORS_ALLOW_ORIGINS")
    """
    Origins whose pages may call the server, beside those on this machine and of `hosts`; in variables
    separated by commas; *: all (the reference's default), without credentials. Ignored when langgraph.json
    has `http.cors`. Default: none. Set by GATEWAYD_CORS_ALLOW_ORIGINS, CORS_ALLOW_ORIGINS.
    """

    log_level: str = _setting("INFO", _level, "LOG_LEVEL")
    """Least level to log. Default: INFO. Set by --log-level, GATEWAYD_LOG_LEVEL, LOG_LEVEL."""

    log_levels: tuple[tuple[str, str], ...] = _setting((), _levels)
    """
    Levels of single loggers and what is below them, as my_agent=DEBUG,httpx=WARNING. gatewayd.access has a
    line for each request, gatewayd.stdout and gatewayd.stderr what user code prints. Default: none. Set by
    GATEWAYD_LOG_LEVELS.
    """

    log_json: bool = _setting(False, _flag, "LOG_JSON")
    """
    One JSON object a line instead of text. Default: false. Set by --log-json, GATEWAYD_LOG_JSON, LOG_JSON.
    """

    log_color: bool = _setting(True, _flag, "LOG_COLOR")
    """
    Coloured levels in text logs, on a terminal only. Default: true. Set by GATEWAYD_LOG_COLOR, LOG_COLOR.
    """

    ids: Literal["all", "resumable"] = _setting("all", _one_of("all", "resumable"))
    """
    Which run streams carry event ids: all, or only those created with `stream_resumable`, as in the
    reference. Default: all. Set by GATEWAYD_IDS.
    """

    on_restart: Literal["resume", "restart", "error", "interrupt"] = _setting(
        "resume", _one_of(*project.ON_RESTART)
    )
    """
    What becomes of runs that were executing when the server was killed: resume (go on from the last
    checkpoint), restart (begin at the input), error, interrupt (end so). A graph may have its own in
    langgraph.json (`gatewayd.graphs.<id>.on_restart`). Default: resume. Set by GATEWAYD_ON_RESTART.
    """

    write_timeout_s: float = _setting(60.0, _seconds(0.01, 3600))
    """
    Seconds after which a client that takes nothing of its response is cut off. Default: 60. Set by
    GATEWAYD_WRITE_TIMEOUT_S.
    """

    sweep_interval_s: float = _setting(30.0, _seconds(0.01, DAY_S))
    """
    Seconds between two sweeps for what is due to be deleted. Default: 30. Set by GATEWAYD_SWEEP_INTERVAL_S.
    """

    failed_cron_ttl_s: float = _setting(7.0 * DAY_S, _seconds(0, 3650 * DAY_S))
    """
    Seconds for which the thread of a cron's run that failed is kept if it goes with its run
    (`on_run_completed` is "delete"): no search finds it, its id reaches it. Default: 604800. Set by
    GATEWAYD_FAILED_CRON_TTL_S.
    """

    error_detail: Literal["masked", "full"] = _setting("masked", _one_of("masked", "full"))
    """
    What clients see of the exceptions of graphs: masked hides the messages of those that may hold secrets,
    full shows all, and the traceback in the records of runs. Default: masked. Set by GATEWAYD_ERROR_DETAIL.
    """

    thread_ttl_s: float = _setting(0.0, _seconds(0, 3650 * DAY_S))
    """
    Seconds after its last activity for which a thread is kept that is created from now on and has no time to
    live of its own; 0: what `checkpointer.ttl` of langgraph.json says, if anything. Default: 0. Set by
    GATEWAYD_THREAD_TTL_S.
    """

    thread_ttl_strategy: Literal["delete", "keep_latest"] = _setting("delete", _one_of(*STRATEGIES))
    """
    What becomes of a thread when `thread_ttl_s` is over: delete, or keep_latest (its latest states stay).
    Default: delete. Set by GATEWAYD_THREAD_TTL_STRATEGY.
    """

    max_db_size: int = _setting(0, _bytes)
    """
    Size of the database and the long-term store together at which new runs, threads and copies, and items
    that clients put, are refused (507), as bytes or with a unit (10GB, 8GiB); 0: no limit. Default: 0. Set by
    --max-db-size, GATEWAYD_MAX_DB_SIZE.
    """

    min_free_disk: int = _setting(64 * MIB, _bytes)
    """
    Free space on the data directory's disk below which new runs, threads and copies are refused (507), so
    that those under way can end; bytes or with a unit. Default: 64 MiB. Set by GATEWAYD_MIN_FREE_DISK.
    """


@frozen(kw_only=True)
class _Source:
    """A place where settings come from; `flags` have names of their own, all others are variables."""

    values: Mapping[str, Any]
    place: str
    """For messages: ``in the environment``."""
    folder: Path
    """What relative paths in it are relative to."""
    flags: bool = False

    def find(self, attribute: Attribute[Any]) -> tuple[str, Any] | None:
        """Return the name and the raw value that the source has for a setting, or None."""
        if self.flags:
            value = self.values.get(attribute.name)
            return None if value is None else (f"--{attribute.name.replace('_', '-')}", value)
        for name in (PREFIX + attribute.name.upper(), *attribute.metadata["reference"]):
            value = self.values.get(name)
            if value or (value == "" and attribute.name == "cors_allow_origins"):
                return name, value
        return None


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> tuple[Settings, project.Project]:
    """
    Read the project that flags or environment name, then merge all sources of settings.

    `flags` has fields' names as keys; None stands for a flag that was not given. What is ignored is told in
    the project's `warnings`. Raises `BadConfiguration` with one line that tells the setting, its source and
    its value.
    """
    if unknown := flags.keys() - {attribute.name for attribute in fields(Settings)}:
        raise TypeError(f"flags without a setting: {unknown}")
    folder = Path.cwd()
    on_command_line = _Source(values=flags, place="on the command line", folder=folder, flags=True)
    in_environment = _Source(values=environ, place="in the environment", folder=folder)
    config = _merged(fields(Settings).config, [on_command_line, in_environment])
    served = project.read(Path("langgraph.json") if config is None else config, environ)
    in_project = _Source(values=served.env, place=f"in the env of {served.path}", folder=served.folder)

    values: dict[str, Any] = {}
    for attribute in fields(Settings):
        if (value := _merged(attribute, [on_command_line, in_project, in_environment])) is not None:
            values[attribute.name] = value
    values["config"] = served.path
    if "data_dir" not in values and (state := environ.get("STATE_DIRECTORY", "").split(":")[0]):
        values["data_dir"] = folder / state
    settings = Settings(**values)
    if settings.run_backlog < settings.run_window:
        raise BadConfiguration(
            f"run_backlog ({settings.run_backlog} bytes) must not be less than run_window ({settings.run_window} bytes)"
        )
    warnings = _judged(settings, served, {**environ, **served.env})
    return settings, evolve(served, warnings=(*served.warnings, *warnings))


def changed(before: Settings, now: Settings) -> list[str]:
    """Return the names of settings that differ, but for the project's file: that a reload reads again."""
    names = [attribute.name for attribute in fields(Settings) if attribute.name != "config"]
    return [name for name in names if getattr(before, name) != getattr(now, name)]


def effective_cors(settings: Settings, served: project.Project) -> project.Cors:
    """
    Return the rules for other origins: `http.cors` if there is one, else the open defaults for the set
    origins.
    """
    if served.cors is not None:
        return served.cors
    origins = settings.cors_allow_origins
    return project.Cors(allow_origins=origins, allow_credentials=bool(origins) and "*" not in origins)


def effective_retention(settings: Settings, served: project.Project) -> Retention:
    """Return how long threads are kept: as the settings say if they do, else as the project does."""
    if not settings.thread_ttl_s:
        return served.retention
    return evolve(
        served.retention, strategy=settings.thread_ttl_strategy, default_ttl=settings.thread_ttl_s / 60
    )


def _merged(attribute: Attribute[Any], sources: list[_Source]) -> Any:
    """Return the value of the first source that has one, parsed; None if none has."""
    for source in sources:
        if (found := source.find(attribute)) is None:
            continue
        name, raw = found
        try:
            value = attribute.metadata["parse"](raw)
        except ValueError as error:
            raise BadConfiguration(
                f"{name}={str(raw)!r} ({source.place}): {attribute.name} {error}"
            ) from None
        return source.folder / value if isinstance(value, Path) else value
    return None


def _judged(settings: Settings, served: project.Project, variables: Mapping[str, str]) -> Iterator[str]:
    """Refuse variables that can't be ignored; yield a warning for each group of those that are."""
    for name, reason in REFUSED.items():
        value = variables.get(name, "")
        if value and not (name == "LANGGRAPH_AUTH_TYPE" and value == "noop"):
            place = f"in the env of {served.path}" if name in served.env else "in the environment"
            raise BadConfiguration(f"{name} is set ({place}): {reason}")
    if stores := [name for name in FOREIGN_STORES if variables.get(name)]:
        yield f"{', '.join(stores)}: not used by the server, its data live in {settings.data_dir}"
    if variables.get("LANGGRAPH_AES_KEY"):
        yield f"LANGGRAPH_AES_KEY encrypts checkpoints and their writes only: {IN_THE_CLEAR} are stored in the clear"
    if "*" in effective_cors(settings, served).allow_origins:
        place = "CORS_ALLOW_ORIGINS" if served.cors is None else f"{served.path}: http.cors.allow_origins"
        yield f"{place} is *: any page that is opened in a browser on this machine can drive the server; name the origins"
    for name, instead in UNHONOURED.items():
        if variables.get(name):
            yield f"{name} is ignored: {instead}"
    if served.env.get("GATEWAYD_CONFIG"):
        yield f"GATEWAYD_CONFIG in the env of {served.path} is ignored: a project can't name another"
    known = {PREFIX + attribute.name.upper() for attribute in fields(Settings)} | REFUSED.keys()
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in known:
            yield f"{name} is ignored: there is no such setting"
