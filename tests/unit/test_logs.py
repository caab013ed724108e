"""Logs: both formats, fields from the call and from the context, and no forged lines."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import re
import threading
import warnings

import pytest

from gatewayd import logs

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def restored():
    """Put the root logger back as pytest set it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def configured(*, as_json=False, level="INFO", **rest):
    stream = io.StringIO()
    logs.configure(level, as_json, stream, **rest)
    return stream


log = logging.getLogger("gatewayd.runs")


# text


def test_a_text_line_is_time_level_logger_message_and_fields():
    stream = configured()
    log.info("run %s", "ended", extra=logs.fields(status="success", seconds=1.5))
    assert re.fullmatch(
        f"{STAMP} INFO  gatewayd.runs  run ended  status=success seconds=1.5\n", stream.getvalue()
    )


def test_a_line_without_fields_ends_with_its_message():
    stream = configured()
    log.warning("careful")
    assert re.fullmatch(f"{STAMP} WARN  gatewayd.runs  careful\n", stream.getvalue())


def test_the_time_of_a_line_is_utc_with_milliseconds():
    record = logging.makeLogRecord(
        {"name": "x", "msg": "m", "levelname": "INFO", "created": 1767225600.0, "msecs": 7.9}
    )
    assert logs.TextFormatter().format(record) == "2026-01-01T00:00:00.007Z INFO  x  m"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two words", 'f="two words"'),
        ('say "x"', r'f="say \"x\""'),
        ("a=b", 'f="a=b"'),
        ("", 'f=""'),
        ("a\nb", r'f="a\nb"'),
        ("a\x1b[31mb", r'f="a\x1b[31mb"'),
        (["x", 1], "f=\"['x', 1]\""),
        (7, "f=7"),
        (True, "f=True"),
    ],
)
def test_a_value_is_one_word_or_quoted(value, written):
    stream = configured()
    log.info("m", extra=logs.fields(f=value))
    assert stream.getvalue().rstrip("\n").endswith(f"  m  {written}")


def test_a_message_cannot_forge_a_line_or_drive_the_terminal():
    stream = configured()
    log.info("name: %s", "x\n2026-01-01T00:00:00.000Z INFO  gatewayd  forged\r\x1b[2J\x85\u2028y")
    _, second = stream.getvalue().splitlines()
    assert second.startswith("    2026-")
    assert second.endswith(r"forged\x0d\x1b[2J\x85\u2028y")


def test_a_traceback_follows_the_line_indented():
    stream = configured()
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        log.exception("failed", extra=logs.fields(a=1))
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("ERROR gatewayd.runs  failed  a=1")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == ["    ValueError: broken", "    in two"]


def test_levels_are_coloured_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, color, coloured in [
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), True, False),
    ]:
        logs.configure("INFO", False, stream, color=color)
        log.error("m")
        assert ("\x1b[" in stream.getvalue()) is coloured


# JSON


def test_a_json_line_is_an_object_with_event_level_logger_timestamp_and_fields():
    stream = configured(as_json=True)
    log.warning("run %s", "ended", extra=logs.fields(status="success", n=1))
    line = json.loads(stream.getvalue())
    assert re.fullmatch(STAMP, line.pop("timestamp"))
    assert line == {
        "level": "warning",
        "logger": "gatewayd.runs",
        "event": "run ended",
        "status": "success",
        "n": 1,
    }


def test_every_json_record_is_one_line_whatever_is_in_it():
    stream = configured(as_json=True)
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("x\ny", stack_info=True, extra=logs.fields(f="1\n2"))
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line["event"] == "x\ny"
    assert line["exception"].endswith("ValueError: a\nb")
    assert line["stack"].startswith("Stack")


@pytest.mark.parametrize(
    ("value", "read"), [({1, }, "{1}"), (2**70, 2**70), ("\ud800", "\ud800"), ({"a": [None]}, {"a": [None]})]
)  # fmt: skip
def test_no_value_makes_a_json_record_fail(value, read):
    stream = configured(as_json=True)
    log.info("m", extra=logs.fields(f=value))
    assert json.loads(stream.getvalue())["f"] == read


def test_a_field_cannot_replace_what_every_record_has():
    stream = configured(as_json=True)
    log.info("m", extra=logs.fields(event="forged", level="debug", logger="x", timestamp="y"))
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("m", "info", "gatewayd.runs")
    assert re.fullmatch(STAMP, line["timestamp"])


# bound fields


def bound_in(stream):
    return [
        {key: value for key, value in json.loads(text).items() if key.endswith("_id")}
        for text in stream.getvalue().splitlines()
    ]


def test_bound_fields_are_in_every_record_of_the_block_and_nest():
    stream = configured(as_json=True)
    with logs.bind(request_id="q"):
        log.info("1")
        with logs.bind(run_id="r", thread_id="t"):
            logging.getLogger("some.library").info("2")
        log.info("3")
    log.info("4")
    assert bound_in(stream) == [
        {"request_id": "q"},
        {"request_id": "q", "run_id": "r", "thread_id": "t"},
        {"request_id": "q"},
        {},
    ]


def test_a_block_that_fails_gives_its_fields_back():
    with pytest.raises(ValueError, match="x"), logs.bind(run_id="r"):
        raise ValueError("x")
    assert logs.bound() == {}


def test_a_field_of_the_call_wins_over_a_bound_one_and_none_leaves_it_out():
    stream = configured(as_json=True)
    with logs.bind(run_id="r", thread_id="t"):
        log.info("m", extra=logs.fields(run_id="s", thread_id=None))
    assert bound_in(stream) == [{"run_id": "s"}]


def test_attach_and_detach_do_the_same_without_a_block():
    token = logs.attach(run_id="r")
    assert logs.bound() == {"run_id": "r"}
    logs.detach(token)
    assert logs.bound() == {}


async def test_tasks_do_not_see_each_others_fields_and_inherit_their_makers():
    stream = configured(as_json=True)
    barrier = asyncio.Barrier(2)

    async def run(run_id):
        with logs.bind(run_id=run_id):
            await barrier.wait()  # both are inside their blocks now
            log.info(run_id)

    with logs.bind(request_id="q"):
        await asyncio.gather(run("a"), run("b"))
    events = {json.loads(text)["event"]: json.loads(text) for text in stream.getvalue().splitlines()}
    assert {name: (line["run_id"], line["request_id"]) for name, line in events.items()} == {
        "a": ("a", "q"),
        "b": ("b", "q"),
    }


def test_a_thread_started_with_the_context_keeps_the_fields():
    stream = configured(as_json=True)
    with logs.bind(run_id="r"):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(log.info, "m"))
        thread.start()
        thread.join()
    assert bound_in(stream) == [{"run_id": "r"}]


# configuring


def test_the_level_holds_for_all_loggers():
    stream = configured(level="WARNING")
    log.info("no")
    logging.getLogger("some.library").warning("yes")
    assert "no" not in stream.getvalue()
    assert "some.library  yes" in stream.getvalue()


def test_a_level_that_is_off_does_not_even_format_its_message():
    configured(level="INFO")

    class Costly:
        def __str__(self):
            raise AssertionError("formatted")

    log.debug("%s", Costly(), extra=logs.fields(f=Costly()))


def test_configuring_again_replaces_the_first_and_keeps_foreign_handlers():
    foreign = logging.NullHandler()
    logging.getLogger().addHandler(foreign)
    first, second = configured(), configured()
    log.info("m")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert foreign in logging.getLogger().handlers


def test_without_a_stream_records_go_to_stderr(capsys):
    logs.configure("INFO", False)
    log.info("m")
    captured = capsys.readouterr()
    assert captured.err.endswith("gatewayd.runs  m\n")
    assert captured.out == ""


def test_pythons_warnings_are_records_too():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = configured()
        warnings.warn("old thing", stacklevel=1)
        logging.captureWarnings(False)
    assert "WARN  py.warnings" in stream.getvalue()
    assert "old thing" in stream.getvalue()


def test_a_foreign_extra_named_fields_that_is_no_mapping_does_no_harm():
    stream = configured()
    log.info("m", extra={"fields": 5})
    assert stream.getvalue().endswith("  m\n")


# what is too long, and what comes again


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_put_into_a_message_and_fields_are_cut_at_4_kb(as_json):
    stream = configured(as_json=as_json)
    long = "x" * 1_000_000
    log.warning("it failed: %s (%s, %d)", ValueError(long), long, 5, extra=logs.fields(why=long))
    log.warning("it failed: %(why)s", {"why": long})
    first, second = stream.getvalue().splitlines()
    assert 3 * 4_000 - 100 < len(first.encode()) < 3 * 4_000 + 400
    assert first.count("[cut, 1000000 characters in all]") == 3
    assert len(second) < 4_400


def test_a_message_without_arguments_may_be_long_and_hold_percent_signs():
    stream = configured()
    for text in ("100 % is " + "y" * 5_000, "5 %s" + "z" * 5_000):
        log.info(text)
        assert text in stream.getvalue()


def test_a_stack_that_we_have_made_is_not_cut():
    stream = configured()
    log.warning("blocked\n%s", logs.Whole("f\n" * 5_000))
    assert stream.getvalue().count("f\n") == 5_000


@pytest.mark.parametrize("as_json", [False, True])
def test_the_text_of_an_exception_and_of_its_causes_is_cut_at_4_kb_and_the_frames_stay(as_json):
    stream = configured(as_json=as_json)
    try:
        try:
            raise KeyError("c" * 100_000)
        except KeyError as cause:
            raise ValueError("e" * 100_000) from cause
    except ValueError:
        log.exception("it failed")
    text = stream.getvalue()
    assert len(text) < 10_000
    assert text.count("[cut, ") == 2
    assert text.count("test_logs.py") == 2


def test_a_traceback_of_many_causes_has_an_end():
    stream = configured()
    error = None
    for number in range(200):
        later = ValueError(f"{number} " + "e" * 3_000)
        later.__cause__ = error
        error = later
    log.error("it failed", exc_info=error)
    assert len(stream.getvalue()) < 80_000
    assert "ValueError: 0 e" in stream.getvalue()
    assert "ValueError: 199 e" in stream.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_ten_identical_tracebacks_are_one(as_json):
    stream = configured(as_json=as_json)
    for number in range(10):
        log.error("run %d failed", number, exc_info=raised(ValueError("same")))
    log.error("another failed", exc_info=raised(ValueError("other")))
    text = stream.getvalue()
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("ValueError: same") == 1
    assert text.count("the same traceback as at 20") == 9
    assert all(f"run {number} failed" in text for number in range(10))


def test_a_traceback_is_written_again_after_a_minute():
    stream = configured()
    error = raised(ValueError("same"))
    for moment in (0.0, 59.0, 61.0, 62.0):
        record = log.makeRecord(
            log.name, logging.ERROR, "f", 1, "failed", (), (type(error), error, error.__traceback__)
        )
        record.created = 1_800_000_000 + moment
        log.handle(record)
    assert stream.getvalue().count("Traceback (most recent call last)") == 2
    assert stream.getvalue().count("the same traceback as at 2027-01-15T08:00:00") == 1
    assert stream.getvalue().count("the same traceback as at 2027-01-15T08:01:01") == 1


def test_of_very_many_tracebacks_the_earliest_are_forgotten():
    stream = configured()
    for number in range(logs.MOST_REMEMBERED + 1):
        log.error("failed", exc_info=raised(ValueError(number)))
    log.error("failed", exc_info=raised(ValueError(0)))
    assert "the same traceback" not in stream.getvalue()
    log.error("failed", exc_info=raised(ValueError(logs.MOST_REMEMBERED)))
    assert "the same traceback" in stream.getvalue()


# what others say


@pytest.mark.parametrize("as_json", [False, True])
def test_extra_of_any_logger_is_kept_as_fields(as_json):
    stream = configured(as_json=as_json)
    logging.getLogger("my_agent").info("called", extra={"tool": "search", "tokens": 7})
    line = stream.getvalue()
    if as_json:
        told = json.loads(line)
        assert (told["event"], told["tool"], told["tokens"]) == ("called", "search", 7)
        assert told.keys() == {"timestamp", "level", "logger", "event", "tool", "tokens"}
    else:
        assert line.endswith("INFO  my_agent  called  tool=search tokens=7\n")


def test_levels_can_be_set_by_package():
    names = ("my_agent", "my_agent.tools", "elsewhere")
    try:
        stream = configured(level="WARNING", levels={"my_agent": "DEBUG"})
        for name in names:
            logging.getLogger(name).debug("said")
        assert [line.split()[2] for line in stream.getvalue().splitlines()] == list(names[:2])
    finally:
        logging.getLogger("my_agent").setLevel(logging.NOTSET)


def test_debug_does_not_tell_each_statement_unless_it_is_asked_for():
    statements = logging.getLogger("aiosqlite")
    try:
        stream = configured(level="DEBUG")
        statements.debug("executing SELECT 1")
        log.debug("ours")
        assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["gatewayd.runs"]
        stream = configured(level="DEBUG", levels={"aiosqlite": "DEBUG"})
        statements.debug("executing SELECT 1")
        assert "executing" in stream.getvalue()
    finally:
        statements.setLevel(logging.NOTSET)
