"""What a body may have at most: refused with the limit, before it has cost anything."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import uuid
import zlib

import pytest

from gatewayd import wire

MIB = 1 << 20


async def post(server, path, data, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.client.post(path, data=data, headers=headers) as answer:
        return answer.status, await answer.json()


def lists(size: int) -> bytes:
    return b"[" + b"[]," * (size // 3) + b"[]]"


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_may_not_become_a_hundred_times_its_size(server, encoding, compress):
    data = compress(b'{"metadata":{"a":"' + b"x" * (90 * MIB) + b'"}}')
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        status, said = await post(server, "/threads", data, Content_Encoding=encoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, said) == (413, {"detail": "The request body is compressed by more than 100 to 1"})
    assert peak < 40 * MIB


async def test_what_compresses_well_and_is_small_or_compresses_as_text_does_is_taken(server):
    small = b'{"assistant_id":"chat","input":{"a":"' + b"x" * (900 * 1024) + b'"}}'
    assert len(gzip.compress(small)) * 500 < len(small)
    status, _ = await post(server, "/runs", gzip.compress(small), Content_Encoding="gzip")
    assert status == 200
    text = "".join(str(uuid.UUID(int=number**7)) * 20 for number in range(5000))
    large = json.dumps({"assistant_id": "chat", "input": {"a": text}}).encode()
    assert len(gzip.compress(large)) * 20 < len(large)
    status, _ = await post(server, "/runs", gzip.compress(large), Content_Encoding="gzip")
    assert status == 200


async def test_a_body_of_more_values_than_the_limit_is_422_and_names_it(serve):
    server = await serve(max_body_values=5000)
    thread_id = await server.thread()
    said = {"detail": "The request body has more than 5000 values"}
    for path, data in {
        "/runs": b'{"assistant_id":"chat","input":' + lists(30_000) + b"}",
        "/threads": lists(30_000),
        "/store/items/search": b'{"filter":{"a":' + lists(30_000) + b"}}",
        f"/threads/{thread_id}/commands": lists(30_000),
        f"/threads/{thread_id}/stream/events": lists(30_000),
    }.items():
        assert await post(server, path, data) == (422, said)
        assert await post(server, path, gzip.compress(data), Content_Encoding="gzip") == (413, said)
    quoted = json.dumps({"assistant_id": "chat", "input": {"a": '[[,\\",' * 30_000}}).encode()
    assert (await post(server, "/runs", quoted))[0] == 200


@pytest.mark.parametrize("name", ["metadata", "config", "context"])
@pytest.mark.parametrize("kind", ["list", "map", "nested"])
async def test_a_part_of_more_values_than_the_limit_is_422_and_named(serve, name, kind):
    server = await serve(max_metadata_bytes=MIB)

    def part(count):
        match kind:
            case "list":
                return {"configurable": {"a": [0] * (count - 3)}}
            case "map":
                return {"configurable": {f"k{n}": 0 for n in range(count - 2)}}
            case _:
                return {"configurable": {"a": [[0] * 9] * ((count - 3) // 10)}}

    said = f"`{name}` has more than 10000 values"
    wrong = json.dumps({"assistant_id": "chat", name: part(10_020)}).encode()
    assert await post(server, "/runs", wrong) == (422, {"detail": said})
    batch = b"[" + json.dumps({"assistant_id": "chat"}).encode() + b"," + wrong + b"]"
    assert await post(server, "/runs/batch", batch) == (422, {"detail": said.replace("`", "`1.", 1)})
    fine = json.dumps({"assistant_id": "chat", name: part(9_990)}).encode()
    assert (await post(server, "/runs", fine))[0] == 200


async def test_large_metadata_are_422_wherever_they_are_sent(server):
    thread_id = await server.thread()
    large, fine = {"metadata": {"a": "ä" * 40_000}}, {"metadata": {"a": "ä" * 30_000}}
    for method, path, more in (
        ("POST", "/threads", {}),
        ("PATCH", f"/threads/{thread_id}", {}),
        ("PATCH", f"/threads/{thread_id}/state", {}),
        ("POST", "/assistants", {"graph_id": "chat"}),
        ("POST", "/runs", {"assistant_id": "chat"}),
        ("POST", "/runs/crons", {"assistant_id": "chat", "schedule": "0 0 1 1 *"}),
        ("POST", "/threads/search", {}),
    ):
        said = await server.json(method, path, more | large, status=422)
        assert said == {"detail": "`metadata` is larger than 65536 bytes"}, path
        async with server.client.request(method, path, json=more | fine) as answer:
            assert answer.status in {200, 204}, await answer.text()
    command = {"id": 1, "method": "run.start", "params": {"assistant_id": "chat"} | large}
    said = await server.json("POST", f"/threads/{thread_id}/commands", command, status=422)
    assert said == {"detail": "`params.metadata` is larger than 65536 bytes"}


async def test_lists_of_ids_and_batches_have_limits(server):
    thread_id = await server.thread()
    for path, name, more in (
        ("/threads/search", "ids", {}),
        ("/threads/prune", "thread_ids", {}),
        ("/runs/cancel", "run_ids", {"thread_id": thread_id}),
    ):
        said = await server.json("POST", path, more | {name: [thread_id] * 1001}, status=422)
        assert said == {"detail": f"`{name}` has more than 1000 items"}
    assert len(await server.json("POST", "/threads/search", {"ids": [thread_id] * 1000})) == 1
    run = {"assistant_id": "chat", "after_seconds": 3600}
    said = await server.json("POST", "/runs/batch", [run] * 1001, status=422)
    assert said == {"detail": "The batch has more than 1000 items"}
    assert len(await server.json("POST", "/runs/batch", [run] * 1000)) == 1000


async def test_the_limits_are_settings(serve):
    server = await serve(
        max_metadata_values=3, max_metadata_bytes=1024, max_ids=2, max_batch=1, max_body_ratio=2
    )
    for path, body, said in (
        ("/threads", {"metadata": {"a": [1, 2]}}, "`metadata` has more than 3 values"),
        ("/threads", {"metadata": {"a": "x" * 2000}}, "`metadata` is larger than 1024 bytes"),
        ("/threads/search", {"ids": ["a", "b", "c"]}, "`ids` has more than 2 items"),
        ("/runs/batch", [{"assistant_id": "chat"}] * 2, "The batch has more than 1 items"),
    ):
        assert await server.json("POST", path, body, status=422) == {"detail": said}
    data = gzip.compress(wire.dumps({"metadata": {"a": "x" * 2 * MIB}}))
    said = {"detail": "The request body is compressed by more than 2 to 1"}
    assert await post(server, "/threads", data, Content_Encoding="gzip") == (413, said)
