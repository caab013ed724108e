"""Settings: every source, their order, and one clear line for what is wrong."""

from __future__ import annotations

import ast
import inspect
import json
from ipaddress import ip_network

import attrs
import pytest

from gatewayd import project, settings
from gatewayd.errors import BadConfiguration


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with a project in it."""
    (tmp_path / "agent.py").write_text("graph = None\n")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


def with_env(folder, **env):
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, "env": env}))


def loaded(flags=None, /, **environ):
    return settings.load(flags or {}, environ)[0]


def refusal(flags=None, /, **environ):
    with pytest.raises(BadConfiguration) as caught:
        settings.load(flags or {}, environ)
    assert "\n" not in caught.value.detail
    return caught.value.detail


# For every field: a text as it stands in a variable, and the value it becomes (none of them a default).
TEXTS = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("8123", 8123),
    "workers": ("3", 3),
    "jobs_per_worker": ("4", 4),
    "worker_max_runs": ("100", 100),
    "worker_memory": ("536870912", 536870912),
    "worker_blocked_s": ("2.5", 2.5),
    "job_timeout_s": ("2.5", 2.5),
    "max_retries": ("7", 7),
    "drain_s": ("180", 180.0),
    "cancel_deadline_s": ("1", 1.0),
    "call_deadline_s": ("2", 2.0),
    "heartbeat_s": ("0.5", 0.5),
    "linger_s": ("0", 0.0),
    "idempotency_ttl_s": ("60", 60.0),
    "webhook_secret": ("s", "s"),
    "webhook_timeout_s": ("2", 2.0),
    "webhook_private": ("allow", "allow"),
    "failed_cron_ttl_s": ("3600", 3600.0),
    "error_detail": ("full", "full"),
    "webhook_log_s": ("60", 60.0),
    "on_restart": ("error", "error"),
    "replay_window_s": ("3600", 3600.0),
    "v2_hold": ("0", 0),
    "v2_places": ("1", True),
    "events_ttl_s": ("0", 0.0),
    "hub_memory": ("1048576", 1048576),
    "max_connections": ("100", 100),
    "max_per_address": ("0", 0),
    "trusted_proxies": (
        "10.0.0.5, 172.16.0.0/12,2001:db8::/32",
        tuple(map(ip_network, ("10.0.0.5", "172.16.0.0/12", "2001:db8::/32"))),
    ),
    "receive_timeout_s": ("2.5", 2.5),
    "search_scan": ("1000", 1000),
    "run_window": ("65536", 65536),
    "run_backlog": ("2097152", 2097152),
    "max_body_bytes": ("2048", 2048),
    "max_body_values": ("5000", 5000),
    "max_body_ratio": ("20", 20),
    "max_metadata_values": ("500", 500),
    "max_metadata_bytes": ("2048", 2048),
    "max_ids": ("10", 10),
    "max_batch": ("10", 10),
    "hosts": (
        "Agents.Example.com, box.lan,straße.example,[0:0::1]",
        ("agents.example.com", "box.lan", "xn--strae-oqa.example", "::1"),
    ),
    "cors_allow_origins": (
        "https://a.example, http://b.example:80/",
        ("https://a.example", "http://b.example:80"),
    ),
    "log_level": ("debug", "DEBUG"),
    "log_levels": ("my_agent=debug, httpx=warn", (("my_agent", "DEBUG"), ("httpx", "WARNING"))),
    "unknown_fields": ("refuse", "refuse"),
    "log_json": ("true", True),
    "log_color": ("no", False),
    "ids": ("resumable", "resumable"),
    "write_timeout_s": ("1.5", 1.5),
    "ping_s": ("1.5", 1.5),
    "sweep_interval_s": ("9", 9.0),
    "thread_ttl_s": ("3600", 3600.0),
    "thread_ttl_strategy": ("keep_latest", "keep_latest"),
    "max_db_size": ("10GB", 10_000_000_000),
    "min_free_disk": ("1.5 GiB", 1_610_612_736),
}

REFERENCE_NAMES = {
    "N_JOBS_PER_WORKER": "jobs_per_worker",
    "BG_JOB_TIMEOUT_SECS": "job_timeout_s",
    "BG_JOB_MAX_RETRIES": "max_retries",
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "drain_s",
    "RESUMABLE_STREAM_TTL_SECONDS": "replay_window_s",
    "HTTP_MAX_REQUEST_BODY_BYTES": "max_body_bytes",
    "CORS_ALLOW_ORIGINS": "cors_allow_origins",
    "LOG_LEVEL": "log_level",
    "LOG_JSON": "log_json",
    "LOG_COLOR": "log_color",
}


# defaults


def test_defaults_are_those_of_the_documentation(folder):
    assert loaded() == settings.Settings(
        config=folder / "langgraph.json",
        host="127.0.0.1",
        hosts=(),
        port=2024,
        data_dir=folder / ".gatewayd",
        workers=1,
        jobs_per_worker=10,
        worker_max_runs=0,
        worker_memory=0,
        worker_blocked_s=10.0,
        job_timeout_s=86400.0,
        max_retries=3,
        drain_s=5.0,
        cancel_deadline_s=10.0,
        call_deadline_s=30.0,
        heartbeat_s=5.0,
        linger_s=120.0,
        idempotency_ttl_s=86400.0,
        webhook_secret="",
        webhook_timeout_s=30.0,
        webhook_private="refuse",
        failed_cron_ttl_s=604_800.0,
        error_detail="masked",
        webhook_log_s=604800.0,
        replay_window_s=120.0,
        v2_hold=250,
        v2_places=False,
        events_ttl_s=604_800.0,
        hub_memory=67108864,
        max_connections=10_000,
        max_per_address=500,
        trusted_proxies=(),
        receive_timeout_s=30.0,
        search_scan=50000,
        run_window=1048576,
        run_backlog=67108864,
        max_body_bytes=104857600,
        max_body_values=1_000_000,
        max_body_ratio=100,
        max_metadata_values=10_000,
        max_metadata_bytes=65536,
        max_ids=1000,
        max_batch=1000,
        cors_allow_origins=(),
        log_level="INFO",
        log_json=False,
        log_color=True,
        ids="all",
        on_restart="resume",
        write_timeout_s=60.0,
        ping_s=20.0,
        sweep_interval_s=30.0,
        thread_ttl_s=0.0,
        thread_ttl_strategy="delete",
        max_db_size=0,
        min_free_disk=67108864,
    )


def test_every_default_lies_within_its_own_bounds():
    defaults = settings.Settings()
    for attribute in attrs.fields(settings.Settings):
        value = getattr(defaults, attribute.name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        assert attribute.metadata["parse"](text) == value, attribute.name


def test_every_field_documents_its_default_and_every_name_it_can_be_set_by():
    body = ast.parse(inspect.getsource(settings.Settings)).body[0].body
    documented = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign):
            assert isinstance(following, ast.Expr), statement.target.id
            documented[statement.target.id] = ast.literal_eval(following.value)
    for attribute in attrs.fields(settings.Settings):
        text = documented[attribute.name]
        assert "Default:" in text, attribute.name
        for name in (f"GATEWAYD_{attribute.name.upper()}", *attribute.metadata["reference"]):
            assert name in text, attribute.name


# sources


@pytest.mark.parametrize("name", TEXTS)
def test_every_field_is_set_by_its_own_variable(folder, name):
    text, value = TEXTS[name]
    assert getattr(loaded(**{f"GATEWAYD_{name.upper()}": text}), name) == value


def test_no_field_is_missing_in_the_tests_of_variables():
    assert {field.name for field in attrs.fields(settings.Settings)} - TEXTS.keys() == {
        "config",
        "data_dir",
    }


@pytest.mark.parametrize(("reference", "name"), REFERENCE_NAMES.items())
def test_the_reference_servers_name_of_a_variable_works_too(folder, reference, name):
    text, value = TEXTS[name]
    assert getattr(loaded(**{reference: text}), name) == value


@pytest.mark.parametrize(("reference", "name"), REFERENCE_NAMES.items())
def test_the_reference_servers_name_works_in_the_projects_env(folder, reference, name):
    text, value = TEXTS[name]
    with_env(folder, **{reference: text})
    assert getattr(loaded(), name) == value


def test_our_name_wins_over_the_references_within_one_source(folder):
    assert loaded(N_JOBS_PER_WORKER="4", GATEWAYD_JOBS_PER_WORKER="5").jobs_per_worker == 5


def test_the_projects_env_wins_over_the_environment_whatever_the_name(folder):
    with_env(folder, N_JOBS_PER_WORKER="4")
    assert loaded(GATEWAYD_JOBS_PER_WORKER="5").jobs_per_worker == 4


def test_a_flag_wins_over_everything(folder):
    with_env(folder, GATEWAYD_PORT="4")
    assert loaded({"port": "6"}, GATEWAYD_PORT="5").port == 6


def test_a_flag_that_was_not_given_says_nothing(folder):
    assert loaded({"port": None, "log_json": None}, GATEWAYD_PORT="5", LOG_JSON="1").port == 5


def test_a_flag_may_say_no(folder):
    assert loaded({"log_json": False}, LOG_JSON="true").log_json is False


def test_a_flag_may_be_given_with_its_type(folder):
    assert loaded({"port": 0, "heartbeat_s": 0.2}).port == 0


def test_an_empty_variable_counts_as_absent(folder):
    with_env(folder, LOG_LEVEL="")
    assert loaded(LOG_LEVEL="ERROR", GATEWAYD_PORT="").log_level == "ERROR"


def test_an_empty_list_of_origins_means_none_also_over_the_environment(folder):
    with_env(folder, CORS_ALLOW_ORIGINS="")
    assert loaded(CORS_ALLOW_ORIGINS="https://a.example").cors_allow_origins == ()


def test_a_flag_that_is_no_setting_is_a_bug_of_the_caller(folder):
    with pytest.raises(TypeError, match="prot"):
        settings.load({"prot": 1}, {})


# the project and the data


def test_the_flag_for_the_project_wins_over_the_variable(folder, tmp_path):
    (folder / "a").mkdir()
    other = (folder / "langgraph.json").rename(folder / "a" / "other.json")
    (folder / "a" / "agent.py").write_text("")
    got, served = settings.load({"config": "a/other.json"}, {"GATEWAYD_CONFIG": "missing.json"})
    assert got.config == other == served.path


def test_the_variable_for_the_project_is_honoured(folder):
    assert str(folder / "missing.json") in refusal(GATEWAYD_CONFIG="missing.json")


def test_a_project_cannot_name_another_project(folder):
    with_env(folder, GATEWAYD_CONFIG="other.json")
    got, served = settings.load({}, {})
    assert got.config == folder / "langgraph.json"
    assert "can't name another" in served.warnings[0]


def test_the_data_lie_beside_the_project_wherever_the_command_was_called(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert loaded({"config": str(folder / "langgraph.json")}).data_dir == folder / ".gatewayd"


def test_systemds_state_directory_comes_before_the_default_and_after_the_setting(folder):
    assert str(loaded(STATE_DIRECTORY="/var/lib/gatewayd:/var/lib/other").data_dir) == "/var/lib/gatewayd"
    got = loaded(STATE_DIRECTORY="/var/lib/gatewayd", GATEWAYD_DATA_DIR="/srv/data")
    assert str(got.data_dir) == "/srv/data"


def test_a_relative_data_dir_is_relative_to_where_it_is_written(folder, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = {"config": "../langgraph.json"}
    assert loaded({**config, "data_dir": "data"}).data_dir == elsewhere / "data"
    with_env(folder, GATEWAYD_DATA_DIR="data")
    assert loaded(config).data_dir == folder / "data"


# what is wrong


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("port", "80.5"),
        ("workers", "0"),
        ("jobs_per_worker", "0"),
        ("worker_blocked_s", "0"),
        ("job_timeout_s", "0"),
        ("job_timeout_s", "nan"),
        ("job_timeout_s", "inf"),
        ("heartbeat_s", "0"),
        ("drain_s", "3601"),
        ("drain_s", "-1"),
        ("max_retries", "-1"),
        ("hub_memory", "1"),
        ("max_connections", "0"),
        ("trusted_proxies", "proxy.example"),
        ("trusted_proxies", "10.0.0.5/8"),
        ("receive_timeout_s", "0"),
        ("search_scan", "0"),
        ("max_body_bytes", "1"),
        ("max_body_values", "999"),
        ("max_body_ratio", "0"),
        ("log_level", "LOUD"),
        ("log_levels", "my_agent"),
        ("log_levels", "my_agent=LOUD"),
        ("log_levels", "=INFO"),
        ("log_json", "maybe"),
        ("ids", "none"),
        ("host", "http://localhost"),
        ("host", "a b"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_setting_source_and_value(folder, name, text):
    variable = f"GATEWAYD_{name.upper()}"
    detail = refusal(**{variable: text})
    assert detail.startswith(f"{variable}={text!r} (in the environment): {name} must be ")


def test_the_source_of_a_wrong_value_is_told(folder):
    assert refusal({"port": "x"}).startswith("--port='x' (on the command line)")
    with_env(folder, BG_JOB_TIMEOUT_SECS="soon")
    assert refusal().startswith(f"BG_JOB_TIMEOUT_SECS='soon' (in the env of {folder}/langgraph.json)")


@pytest.mark.parametrize("policy", ["resume", "restart", "error", "interrupt"])
def test_a_policy_for_restarts_is_one_of_four(folder, policy):
    assert loaded(GATEWAYD_ON_RESTART=policy).on_restart == policy
    assert "must be resume or restart or error or interrupt" in refusal(GATEWAYD_ON_RESTART=f"{policy}s")


def test_no_retries_means_put_aside_at_the_first_strike(folder):
    assert loaded(BG_JOB_MAX_RETRIES="0").max_retries == 1


@pytest.mark.parametrize(
    "text", ["https://a.example", "a.example:443", "a b", "a..b", "*", "a/b", "*.a.example"]
)
def test_what_is_no_host_name_is_refused_and_told_how_one_is_written(folder, text):
    assert "hosts must be host names" in refusal(GATEWAYD_HOSTS=text)


def test_a_backlog_smaller_than_the_window_is_refused(folder):
    detail = refusal(GATEWAYD_RUN_BACKLOG="65536", GATEWAYD_RUN_WINDOW="131072")
    assert "run_backlog (65536 bytes)" in detail


@pytest.mark.parametrize(
    "name",
    [
        "GATEWAYD_API_KEYS",
        "LANGGRAPH_AUTH",
        "LANGGRAPH_AUTH_TYPE",
        "LANGGRAPH_AES_JSON_KEYS",
        "LANGGRAPH_ENCRYPTION",
    ],
)
def test_a_variable_that_asks_for_protection_is_refused_and_its_value_kept_secret(folder, name):
    detail = refusal(**{name: "s3cret"})
    assert detail.startswith(f"{name} is set (in the environment): ")
    assert "s3cret" not in detail


def test_the_key_for_checkpoints_gives_a_warning_of_what_it_does_not_encrypt(folder):
    _, served = settings.load({}, {"LANGGRAPH_AES_KEY": "0123456789abcdef"})
    (warning,) = served.warnings
    assert warning.startswith("LANGGRAPH_AES_KEY encrypts checkpoints and their writes only: ")
    assert "0123456789abcdef" not in warning


def test_the_reference_servers_word_for_no_authentication_is_accepted(folder):
    assert loaded(LANGGRAPH_AUTH_TYPE="noop").port == 2024


# what is ignored


def test_databases_of_the_reference_give_one_warning_that_tells_where_the_data_live(folder):
    with_env(folder, REDIS_URI="redis://:s3cret@localhost")
    _, served = settings.load({}, {"POSTGRES_URI": "postgres://u:s3cret@localhost/db"})
    (warning,) = served.warnings
    assert warning == f"POSTGRES_URI, REDIS_URI: not used by the server, its data live in {folder}/.gatewayd"


def test_a_mistyped_variable_of_ours_is_warned_of(folder):
    _, served = settings.load({}, {"GATEWAYD_WORKER": "2"})
    assert served.warnings == ("GATEWAYD_WORKER is ignored: there is no such setting",)


def test_a_variable_that_moves_routes_is_warned_of(folder):
    _, served = settings.load({}, {"MOUNT_PREFIX": "/api"})
    assert served.warnings == ("MOUNT_PREFIX is ignored: routes begin at /",)


def test_ordinary_variables_give_no_warning(folder):
    _, served = settings.load({}, {"PATH": "/bin", "OPENAI_API_KEY": "x", "LANGSMITH_TRACING": "true"})
    assert served.warnings == ()


def test_warnings_of_the_project_come_first_and_are_kept(folder):
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./agent.py:graph"}, "mystery": 1}))
    _, served = settings.load({}, {"GATEWAYD_X": "1"})
    assert [("mystery" in line, "GATEWAYD_X" in line) for line in served.warnings] == [
        (True, False),
        (False, True),
    ]


# CORS


def test_without_any_setting_no_origin_is_named(folder):
    options, served = settings.load({}, {})
    assert settings.effective_cors(options, served) == project.Cors()
    assert served.warnings == ()


def test_a_star_is_honoured_and_warned_of(folder):
    options, served = settings.load({}, {"CORS_ALLOW_ORIGINS": "*"})
    assert settings.effective_cors(options, served) == project.Cors(allow_origins=("*",))
    assert [line.startswith("CORS_ALLOW_ORIGINS is *: any page") for line in served.warnings] == [True]


def test_a_star_of_the_project_is_honoured_and_warned_of_too(folder):
    document = {"graphs": {"a": "./agent.py:graph"}, "http": {"cors": {"allow_origins": ["*"]}}}
    (folder / "langgraph.json").write_text(json.dumps(document))
    _, served = settings.load({}, {})
    assert ["http.cors.allow_origins is *: any page" in line for line in served.warnings] == [True]


def test_listed_origins_are_allowed_with_credentials(folder):
    rules = settings.effective_cors(*settings.load({}, {"CORS_ALLOW_ORIGINS": "https://a.example"}))
    assert rules == project.Cors(allow_origins=("https://a.example",), allow_credentials=True)


def test_a_list_with_a_star_never_allows_credentials(folder):
    rules = settings.effective_cors(*settings.load({}, {"CORS_ALLOW_ORIGINS": "https://a.example,*"}))
    assert rules.allow_credentials is False


def test_the_projects_cors_section_wins_over_the_variable(folder):
    document = {
        "graphs": {"a": "./agent.py:graph"},
        "http": {"cors": {"allow_origins": ["https://b.example"]}},
    }
    (folder / "langgraph.json").write_text(json.dumps(document))
    rules = settings.effective_cors(*settings.load({}, {"CORS_ALLOW_ORIGINS": "https://a.example"}))
    assert rules == project.Cors(allow_origins=("https://b.example",))


# reload


def test_what_has_changed_since_the_start_is_told_by_name_but_for_the_projects_file(folder):
    before = loaded()
    (folder / "next").mkdir()
    now = attrs.evolve(before, config=folder / "next" / "langgraph.json", port=9, log_level="ERROR")
    assert settings.changed(before, now) == ["port", "log_level"]
    assert settings.changed(before, loaded()) == []


# sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("10k", 10_000),
        ("1.5MB", 1_500_000),
        ("2KiB", 2048),
        ("1 TB", 10**12),
    ],
)
def test_sizes_have_the_units_of_the_trade(folder, text, size):
    assert loaded(GATEWAYD_MAX_DB_SIZE=text).max_db_size == size


@pytest.mark.parametrize("text", ["ten", "-1", "1XB", "1iB", "1e9", "GB", "99999999TB"])
def test_what_is_no_size_is_refused_and_told_how_one_is_written(folder, text):
    assert "max_db_size must be" in refusal(GATEWAYD_MAX_DB_SIZE=text)


# how long threads are kept


def test_the_settings_say_how_long_threads_are_kept_if_they_say_so_else_the_project(folder):
    ttl = {"strategy": "keep_latest", "default_ttl": 60, "sweep_limit": 7}
    (folder / "langgraph.json").write_text(
        json.dumps({"graphs": {"agent": "./agent.py:graph"}, "checkpointer": {"ttl": ttl}})
    )
    chosen, served = settings.load({}, {})
    found = settings.effective_retention(chosen, served)
    assert (found.strategy, found.default_ttl, found.sweep_limit) == ("keep_latest", 60.0, 7)
    chosen, served = settings.load({}, {"GATEWAYD_THREAD_TTL_S": "90"})
    found = settings.effective_retention(chosen, served)
    assert (found.strategy, found.default_ttl, found.sweep_limit) == ("delete", 1.5, 7)
