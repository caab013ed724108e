"""langgraph.json: what is honoured, what is refused by name, what is warned of."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from gatewayd import project
from gatewayd.errors import BadConfiguration
from gatewayd.model import items
from gatewayd.model.retention import Retention

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def write(tmp_path):
    """Write a langgraph.json with a graph that exists, changed by the given keys; return its path."""
    (tmp_path / "agent.py").write_text("graph = None\n")

    def write(**keys):
        document = {"graphs": {"agent": "./agent.py:graph"}, **keys}
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
        return path

    return write


def refusal(path):
    with pytest.raises(BadConfiguration) as caught:
        project.read(path)
    assert "\n" not in caught.value.detail
    return caught.value.detail


# graphs


def test_a_graph_may_be_a_string_or_an_object_with_a_description(write):
    graphs = project.read(
        write(graphs={"a b.c": "./agent.py:graph", "m": {"path": "pkg.mod:make", "description": "Makes."}})
    ).graphs
    assert list(graphs) == ["a b.c", "m"]
    assert graphs["a b.c"] == project.GraphSpec(graph_id="a b.c", path="./agent.py:graph")
    assert graphs["m"] == project.GraphSpec(graph_id="m", path="pkg.mod:make", description="Makes.")


def test_a_location_with_a_slash_is_a_file_and_any_other_a_module(write):
    graphs = project.read(write(graphs={"f": "./agent.py:graph", "m": "pkg.mod:make"})).graphs
    assert (graphs["f"].location, graphs["f"].attribute, graphs["f"].is_file) == ("./agent.py", "graph", True)
    assert (graphs["m"].location, graphs["m"].attribute, graphs["m"].is_file) == ("pkg.mod", "make", False)


def test_an_absolute_file_is_accepted(write, tmp_path):
    assert project.read(write(graphs={"a": f"{tmp_path}/agent.py:graph"})).graphs["a"].is_file


@pytest.mark.parametrize("graphs", [..., None, {}])
def test_a_project_without_graphs_is_refused(write, graphs):
    assert "graphs: missing" in refusal(write(graphs=graphs))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("./agent.py", "must be './file.py:attribute'"),
        ("./agent.py:", "must be './file.py:attribute'"),
        (":graph", "must be './file.py:attribute'"),
        ("agent.py:graph", "write ./agent.py:graph"),
        ("./missing.py:graph", "there is no file"),
        ("./agent.ts:graph", "JavaScript"),
        ("./agent.js:graph", "JavaScript"),
        ("./agent.tsx", "JavaScript"),
        ("", "must not be empty"),
        (5, "must be a string, not a number"),
        ({"description": "no path"}, "must be a string, not null"),
        ({"path": "./agent.py:graph", "description": 5}, "graphs.agent.description: must be a string"),
    ],
)
def test_a_wrong_graph_is_refused_with_file_graph_and_cause(write, entry, said):
    path = write(graphs={"agent": entry})
    detail = refusal(path)
    assert detail.startswith(f"{path}: graphs.agent")
    assert said in detail


# the file


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "langgraph.json").startswith(f"{tmp_path}/langgraph.json: no such file")


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    assert "can't be read" in refusal(tmp_path)


def test_broken_json_is_refused_with_its_place(tmp_path):
    path = tmp_path / "langgraph.json"
    path.write_text('{"graphs": }')
    assert "not valid JSON" in refusal(path)
    assert "column 12" in refusal(path)


def test_a_list_is_no_project(tmp_path):
    path = tmp_path / "langgraph.json"
    path.write_text("[]")
    assert "must be a JSON object, not a list" in refusal(path)


def test_a_byte_order_mark_does_no_harm(write):
    path = write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(project.read(path).graphs) == ["agent"]


def test_the_folder_is_where_the_file_is_named_even_if_the_file_is_a_link(write, tmp_path):
    path = write()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = path.rename(elsewhere / "mounted.json")
    path.symlink_to(target)
    assert project.read(path).folder == tmp_path.resolve()


# dependencies


def test_the_search_path_is_the_folder_and_then_the_existing_folders_in_their_order(write, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    served = project.read(write(dependencies=[".", "./b", "langgraph", "a"]))
    root = tmp_path.resolve()
    assert served.search_path() == [str(root), str(root / "b"), str(root / "a")]
    assert served.warnings == ()


def test_the_search_path_does_not_depend_on_the_current_directory(write, tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    path = write(dependencies=["./src"])
    monkeypatch.chdir("/")
    assert project.read(path).search_path()[1] == str(tmp_path.resolve() / "src")


def test_no_dependencies_are_legal_also_with_a_uv_source(write):
    served = project.read(write(source={"kind": "uv", "root": "."}))
    assert served.dependencies == ()
    assert served.warnings == ()


def test_a_dependency_that_looks_like_a_folder_and_is_none_gives_a_warning(write):
    (warning,) = project.read(write(dependencies=["./src"])).warnings
    assert "dependencies: ./src is ignored" in warning


@pytest.mark.parametrize(
    "dependency", ["langgraph>=1", "langgraph[x] ; python_version > '3'", "LangGraph-SDK @ https://x.test/y"]
)
def test_an_installed_dependency_is_not_spoken_of(write, dependency):
    assert project.read(write(dependencies=[dependency])).warnings == ()


@pytest.mark.parametrize("dependency", ["no-such-package-here>=1", "https://x.test/y.whl", "sub/folder"])
def test_a_dependency_that_is_neither_a_folder_nor_installed_is_named(write, dependency):
    (warning,) = project.read(write(dependencies=[dependency])).warnings
    assert f"dependencies: {dependency} is neither a folder nor installed" in warning


def test_dependencies_that_are_no_list_are_refused(write):
    assert "dependencies: must be a list of strings, not a string" in refusal(write(dependencies="."))


# env


def test_env_may_be_an_object(write):
    served = project.read(write(env={"A": "x", "EMPTY": "", "N": 5, "YES": True}))
    assert served.env == {"A": "x", "EMPTY": "", "N": "5", "YES": "true"}


def test_env_may_be_a_dotenv_file_beside_the_config(write, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELL_ONLY", "shell")
    monkeypatch.setenv("A", "shell")
    (tmp_path / "my.env").write_text(
        "# comment\nexport A=file\nB='single ${A}'\nC=\"two words\"\nD=${A}-${SHELL_ONLY}\nEMPTY=\nBARE\n"
    )
    monkeypatch.chdir("/")
    env = project.read(write(env="my.env")).env
    assert env == {"A": "file", "B": "single file", "C": "two words", "D": "file-shell", "EMPTY": ""}


def test_a_missing_env_file_is_empty_and_warned_of(write):
    served = project.read(write(env=".env"))
    assert served.env == {}
    assert len(served.warnings) == 1
    assert "env: .env is ignored: no such file" in served.warnings[0]


def test_a_dotenv_file_is_not_read_unless_named(write, tmp_path):
    (tmp_path / ".env").write_text("A=1\n")
    assert project.read(write()).env == {}


def test_an_env_file_that_is_not_utf8_is_refused(write, tmp_path):
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    assert "env:" in refusal(write(env=".env"))


@pytest.mark.parametrize("env", [{"A": None}, {"A": []}, {"": "x"}, {"A=B": "x"}, [], 5])
def test_an_env_that_no_process_can_have_is_refused(write, env):
    assert ": env" in refusal(write(env=env))


# keys that are not honoured


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("auth", {"auth": {"path": "./auth.py:auth"}}),
        ("encryption", {"encryption": {"path": "./enc.py:enc"}}),
        ("node_version", {"node_version": "20"}),
        ("checkpointer.path", {"checkpointer": {"path": "./c.py:make"}}),
        ("store.path", {"store": {"path": "./s.py:make"}}),
        ("http.app", {"http": {"app": "./app.py:app"}}),
        ("http.enable_custom_route_auth", {"http": {"enable_custom_route_auth": True}}),
        ("http.disable_runs", {"http": {"disable_runs": True}}),
    ],
)
def test_what_must_not_be_left_out_in_silence_is_refused_by_name(write, key, keys):
    path = write(**keys)
    assert refusal(path).startswith(f"{path}: {key}: ")


@pytest.mark.parametrize("section", ["store", "checkpointer"])
def test_an_own_store_or_checkpointer_is_said_to_be_not_supported_yet(write, section):
    assert "not supported yet" in refusal(write(**{section: {"path": "./x.py:make"}}))


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("checkpointer.ttl.mystery", {"checkpointer": {"ttl": {"strategy": "delete", "mystery": 1}}}),
        ("store.index.mystery", {"store": {"index": {"dims": 3, "embed": "x:y", "mystery": 1}}}),
        ("store.ttl.mystery", {"store": {"ttl": {"default_ttl": 5, "mystery": 1}}}),
        ("checkpointer.serde.mystery", {"checkpointer": {"serde": {"pickle_fallback": True, "mystery": 1}}}),
        ("checkpointer.backend", {"checkpointer": {"backend": "mongo"}}),
        ("priority", {"priority": {"path": "./p.py:p"}}),
        ("http.configurable_headers", {"http": {"configurable_headers": {"includes": ["x-*"]}}}),
        ("http.configurable-headers", {"http": {"configurable-headers": {"includes": ["x-*"]}}}),
        ("http.mount_prefix", {"http": {"mount_prefix": "/api"}}),
        ("ui", {"ui": {"agent": "./ui.tsx"}}),
        ("http.mystery", {"http": {"mystery": 1}}),
        ("http.cors.mystery", {"http": {"cors": {"allow_origins": ["*"], "mystery": 1}}}),
        ("mystery", {"mystery": False}),
    ],
)
def test_every_other_key_that_is_not_honoured_gives_exactly_one_warning(write, key, keys):
    (warning,) = project.read(write(**keys)).warnings
    assert f": {key} is ignored" in warning


def test_the_stores_index_and_lives_are_read(write):
    served = project.read(write(store={"index": {"dims": 3, "embed": "p:m"}, "ttl": {"default_ttl": 5}}))
    assert served.store_index == items.StoreIndex(dims=3, embed="p:m", fields=("$",))
    assert served.store_ttl == items.StoreTtl(default_ttl=5.0)
    served = project.read(
        write(store={"index": {"dims": 1, "embed": "p:m", "fields": ["a", "b.c"]}, "ttl": None})
    )
    assert served.store_index is not None
    assert served.store_index.fields == ("a", "b.c")
    assert served.store_ttl == items.StoreTtl()


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("store.index.dims", {"index": {"embed": "p:m"}}),
        ("store.index.dims", {"index": {"embed": "p:m", "dims": "3"}}),
        ("store.index.embed", {"index": {"dims": 3}}),
        ("store.index.embed", {"index": {"dims": 3, "embed": "nothing"}}),
        ("store.index.embed", {"index": {"dims": 3, "embed": "./missing.py:embed"}}),
        ("store.index.fields", {"index": {"dims": 3, "embed": "p:m", "fields": 5}}),
        ("store.ttl.default_ttl", {"ttl": {"default_ttl": -1}}),
        ("store.ttl.refresh_on_read", {"ttl": {"refresh_on_read": "yes"}}),
        ("store.ttl", {"ttl": 5}),
    ],
)
def test_an_index_or_life_that_can_not_be_is_refused_by_name(write, key, section):
    assert f": {key}: " in refusal(write(store=section))


def test_what_checkpoints_may_hold_is_read_and_a_null_is_not_an_absence(write):
    given = {
        "allowed_json_modules": [["my_agent", "my_file", "SomeType"]],
        "allowed_msgpack_modules": [["my_agent.my_file", "SomeType"]],
        "pickle_fallback": True,
    }
    assert project.read(write(checkpointer={"serde": given})).serde == given
    strict = {"allowed_json_modules": True, "allowed_msgpack_modules": None, "pickle_fallback": False}
    assert project.read(write(checkpointer={"serde": strict})).serde == strict
    assert project.read(write(checkpointer={"serde": None})).serde == {}


@pytest.mark.parametrize(
    ("key", "serde"),
    [
        ("checkpointer.serde", []),
        ("checkpointer.serde.allowed_json_modules", {"allowed_json_modules": "my_agent"}),
        ("checkpointer.serde.allowed_json_modules[0]", {"allowed_json_modules": ["my_agent"]}),
        ("checkpointer.serde.allowed_json_modules[0]", {"allowed_json_modules": [["SomeType"]]}),
        ("checkpointer.serde.allowed_msgpack_modules", {"allowed_msgpack_modules": {}}),
        ("checkpointer.serde.allowed_msgpack_modules[1]", {"allowed_msgpack_modules": [["a", "B"], ["a", "b", "C"]]}),
        ("checkpointer.serde.allowed_msgpack_modules[0][1]", {"allowed_msgpack_modules": [["a", 5]]}),
        ("checkpointer.serde.pickle_fallback", {"pickle_fallback": "yes"}),
    ],
)  # fmt: skip
def test_a_serialiser_that_can_not_be_is_refused_by_name(write, key, serde):
    assert f": {key}: " in refusal(write(checkpointer={"serde": serde}))


def test_parts_of_the_api_are_switched_off(write):
    assert project.read(write(http={"disable_store": True, "disable_meta": False})).disabled == {"store"}


def test_values_that_ask_for_nothing_are_as_good_as_absent(write):
    served = project.read(
        write(
            auth=None,
            encryption={},
            priority=None,
            webhooks={},
            store=None,
            checkpointer={"backend": "default", "ttl": None},
            http={"app": None, "enable_custom_route_auth": False, "disable_runs": False, "cors": None},
        )
    )
    assert (served.warnings, served.notes, served.cors) == ((), (), None)


def test_keys_for_building_images_give_one_note_together_and_no_warning(write):
    served = project.read(write(base_image="x", dockerfile_lines=["RUN true"], api_version="0.16"))
    assert served.warnings == ()
    (note,) = served.notes
    assert note.endswith("base_image, dockerfile_lines, api_version")


def test_a_switch_for_what_is_not_served_anyway_is_only_noted(write):
    served = project.read(write(http={"disable_mcp": True, "disable_a2a": True}))
    assert served.warnings == ()
    assert len(served.notes) == 2


def test_a_section_of_the_wrong_type_is_refused(write):
    assert "http: must be an object, not a list" in refusal(write(http=["*"]))


def test_a_schema_reference_is_nothing_to_warn_of(write):
    assert project.read(write(**{"$schema": "https://example.org/schema.json"})).warnings == ()


def test_another_python_version_than_the_running_one_is_warned_of(write):
    assert project.read(write(python_version=RUNNING)).warnings == ()
    (warning,) = project.read(write(python_version="3.99")).warnings
    assert "python_version is 3.99" in warning


# http.cors


def test_without_the_section_there_are_no_cors_rules_of_the_project(write):
    assert project.read(write(http={})).cors is None


def test_naming_only_the_origins_leaves_methods_headers_and_exposed_headers_open(write):
    served = project.read(write(http={"cors": {"allow_origins": ["https://a.example"]}}))
    assert served.cors == project.Cors(allow_origins=("https://a.example",))
    assert "POST" in served.cors.allow_methods
    assert served.cors.allow_headers == ("*",)
    assert {"location", "content-location"} <= set(served.cors.expose_headers)
    assert (served.cors.allow_credentials, served.cors.max_age) == (False, 600)


def test_every_field_of_the_section_is_taken_over(write):
    given = {
        "allow_origins": ["https://a.example"],
        "allow_methods": ["get", "POST"],
        "allow_headers": ["x-a"],
        "allow_credentials": True,
        "allow_origin_regex": r"https://.*\.b\.example",
        "expose_headers": ["x-b"],
        "max_age": 5,
    }
    served = project.read(write(http={"cors": given}))
    assert served.cors == project.Cors(
        allow_origins=("https://a.example",),
        allow_methods=("GET", "POST"),
        allow_headers=("x-a",),
        allow_credentials=True,
        allow_origin_regex=r"https://.*\.b\.example",
        expose_headers=("x-b",),
        max_age=5,
    )
    assert served.warnings == ()


def test_a_star_among_the_methods_means_all_methods(write):
    cors = project.read(write(http={"cors": {"allow_origins": ["*"], "allow_methods": ["*"]}})).cors
    assert cors.allow_methods == project.CORS_METHODS


def test_a_pattern_alone_does_not_open_the_server_to_all_origins(write):
    served = project.read(write(http={"cors": {"allow_origin_regex": "https://a"}}))
    assert served.cors.allow_origins == ()
    assert served.warnings == ()


def test_a_section_that_names_no_origin_allows_none_and_is_warned_of(write):
    served = project.read(write(http={"cors": {"max_age": 5}}))
    assert served.cors.allow_origins == ()
    assert "names no origin" in served.warnings[0]


@pytest.mark.parametrize(
    "cors",
    [
        {"allow_origins": "*"},
        {"allow_headers": [1]},
        {"allow_credentials": "yes"},
        {"allow_origin_regex": "("},
        {"max_age": -1},
        {"max_age": True},
    ],
)
def test_a_wrong_type_in_the_section_is_refused_with_its_key(write, cors):
    assert f"http.cors.{next(iter(cors))}" in refusal(write(http={"cors": cors}))


# cost


def test_reading_imports_neither_the_graphs_nor_dotenv_nor_langgraph(write, tmp_path):
    (tmp_path / "agent.py").write_text("raise SystemExit('imported')\n")
    code = (
        "import sys; from pathlib import Path; from gatewayd import project;"
        "project.read(Path(sys.argv[1]));"
        "print([name for name in ('dotenv', 'langgraph', 'aiohttp', 'agent') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, write()], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# webhooks and gatewayd's own section


def test_webhooks_are_read_with_https_required_as_soon_as_there_are_rules_for_urls(write):
    assert not project.read(write(webhooks={})).webhooks.require_https
    rules = project.read(
        write(
            webhooks={
                "url": {"allowed_domains": ["*.X.com"], "allowed_ports": [443], "disable_loopback": False},
                "headers": {"X-A": "v ${{ env.LG_WEBHOOK_A }}", "X-B": "${{env.LG_WEBHOOK_B}}"},
            },
            env={"LG_WEBHOOK_A": "1"},
        ),
        {"LG_WEBHOOK_A": "0", "LG_WEBHOOK_B": "2"},
    ).webhooks
    assert (rules.require_https, rules.loopback, rules.sent) == (True, True, True)
    assert (rules.allowed_domains, rules.allowed_ports) == (("*.x.com",), (443,))
    assert rules.headers == {"X-A": "v 1", "X-B": "2"}
    assert not project.read(write(http={"disable_webhooks": True})).webhooks.sent


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            {"headers": {"X": "${{ env.HOME }}"}},
            "webhooks.headers.X: the variable HOME must begin with LG_WEBHOOK_",
        ),
        ({"headers": {"X": "${{ env.LG_WEBHOOK_X }}"}}, "the environment variable LG_WEBHOOK_X is not set"),
        ({"headers": {"X": "a\nb"}}, "webhooks.headers.X: must be one line"),
        ({"headers": {"X": 1}}, "webhooks.headers.X: must be a string"),
        ({"url": {"allowed_ports": ["x"]}}, "webhooks.url.allowed_ports: must be a list of ports"),
        ({"url": {"require_https": 1}}, "webhooks.url.require_https: must be true or false"),
        ({"url": []}, "webhooks.url: must be an object"),
    ],
)
def test_what_is_wrong_with_webhooks_is_told_by_its_key(write, section, told):
    with pytest.raises(BadConfiguration, match=re.escape(told)):
        project.read(write(webhooks=section))


def test_a_graph_may_have_its_own_policy_for_restarts(write):
    graphs = {"a": "./agent.py:graph", "b": "./agent.py:graph"}
    served = project.read(write(graphs=graphs, gatewayd={"graphs": {"a": {"on_restart": "error"}}}))
    assert (served.graphs["a"].on_restart, served.graphs["b"].on_restart) == ("error", None)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"nobody": {}}, "gatewayd.graphs.nobody: there is no such graph"),
        ({"agent": {"x": 1}}, "gatewayd.graphs.agent.x: unknown option"),
        ({"agent": {"on_restart": "x"}}, "gatewayd.graphs.agent.on_restart: must be resume or restart"),
        ({"agent": 1}, "gatewayd.graphs.agent: must be an object"),
    ],
)
def test_what_is_wrong_with_gatewayds_own_section_is_told_by_its_key(write, own, told):
    with pytest.raises(BadConfiguration, match=re.escape(told)):
        project.read(write(graphs={"agent": "./agent.py:graph"}, gatewayd={"graphs": own}))


# how long threads are kept


def test_the_time_to_live_of_threads_is_read_with_the_defaults_of_the_reference(write):
    assert project.read(write()).retention == Retention()
    served = project.read(write(checkpointer={"ttl": {"default_ttl": 0.5}}))
    assert served.warnings == ()
    assert served.retention == Retention(
        strategy="delete", default_ttl=0.5, sweep_interval_minutes=5.0, sweep_limit=1000
    )
    ttl = {"strategy": "keep_latest", "default_ttl": 43200, "sweep_interval_minutes": 10, "sweep_limit": 5}
    assert project.read(write(checkpointer={"ttl": ttl})).retention == Retention(**ttl)


@pytest.mark.parametrize(
    ("ttl", "cause"),
    [
        (5, "checkpointer.ttl: must be an object"),
        ({"strategy": "forget"}, "checkpointer.ttl.strategy: must be delete or keep_latest"),
        ({"default_ttl": 0}, "checkpointer.ttl.default_ttl: must be a number of minutes"),
        ({"default_ttl": "60"}, "checkpointer.ttl.default_ttl: must be a number of minutes"),
        ({"sweep_interval_minutes": -1}, "checkpointer.ttl.sweep_interval_minutes: must be a number"),
        ({"sweep_limit": 0.5}, "checkpointer.ttl.sweep_limit: must be a whole number of threads"),
    ],
)
def test_a_time_to_live_that_means_nothing_is_refused_by_name(write, ttl, cause):
    assert cause in refusal(write(checkpointer={"ttl": ttl}))
