"""
Compressing bodies: the same bytes back, from every kind that was ever stored, and small ones made much
smaller.
"""

from __future__ import annotations

import random
import threading
from hashlib import sha256

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.blobs import codec, dictionary
from gatewayd.errors import GatewaydError

METADATA = {
    "source": "loop",
    "step": 598,
    "parents": {},
    "created_by": "system",
    "graph_id": "chat",
    "assistant_id": "eb6db400-e3c8-5d06-a834-015cb89efe69",
    "run_attempt": 1,
    "langgraph_version": "1.2.24",
    "langgraph_api_version": "0.1.0",
    "langgraph_plan": "self-hosted",
    "langgraph_host": "self-hosted",
    "langgraph_api_url": "http://127.0.0.1:23410",
    "run_id": "01a217fb-9000-72c1-b47b-f7e2fc72ce8d",
    "langgraph_auth_user_id": "",
    "langgraph_request_id": "c9edb0c6-b322-4e4b-bb41-0ed3eb87fc2c",
    "user_id": "",
}
"""What a checkpoint of a conversation has."""


def test_the_dictionary_is_the_one_that_was_released() -> None:
    found = sha256(dictionary.DICTIONARY).hexdigest()
    assert found == "2d417828dcef5427ada80b5b6f6e01a6f63384225319bd6ecc6dca059367da98", (
        "what was stored can't be read any more: a new dictionary needs a kind of its own"
    )


@given(st.binary(max_size=3000) | st.text(max_size=3000).map(str.encode), st.booleans(), st.integers(1, 30))
def test_a_content_comes_back_as_it_was(content: bytes, hasty: bool, times: int) -> None:
    content *= times
    assert codec.unpacked(*codec.packed(content, hasty=hasty)) == content
    assert codec.content(codec.column(content, hasty=hasty)) == content


@given(st.integers(0, len(dictionary.CONTENT)), st.integers(0, 2000))
def test_any_slice_of_the_dictionary_comes_back(start: int, length: int) -> None:
    content = dictionary.CONTENT[start : start + length]
    assert codec.content(codec.column(content)) == content


def test_what_earlier_versions_have_compressed_is_read() -> None:
    assert codec.unpacked(codec.ZSTD, zstandard.ZstdCompressor().compress(b"word " * 90)) == b"word " * 90
    primed = bytes.fromhex(
        "60d6007d0300438711b7dd2ca77d877f397bd6ba7dffbc35673dde65f1d33bff3679737b99ddca679ddd267dad45dd66c95a"
        "5decb947e3e7a7d35ec8963f37abc785a1cfebded77a1647fbd5b993c20cfc1c2856599ebead03c38e908484e0f791396edf"
        "bcb038de9157df23c336b2c5cf6426eb03"
    )
    assert orjson.loads(codec.unpacked(codec.PRIMED, primed)) == METADATA


def test_the_metadata_of_a_checkpoint_become_a_fourth() -> None:
    told = orjson.dumps(METADATA)
    assert len(codec.column(told)) * 4 <= len(told) + 4


def test_what_does_not_become_smaller_is_kept_as_it_is() -> None:
    for size in (1, codec.LEAST, codec.SHORT, 5000, codec.MOST + 1):
        content = random.Random(size).randbytes(size)
        assert codec.packed(content) == (codec.PLAIN, content)


def test_large_bodies_are_frames_that_need_no_dictionary() -> None:
    kind, body = codec.packed(b"0123456789" * codec.MOST)
    assert kind == codec.ZSTD
    assert zstandard.ZstdDecompressor().decompress(body) == b"0123456789" * codec.MOST


def test_a_kind_of_a_newer_version_is_refused_by_its_number() -> None:
    with pytest.raises(GatewaydError, match="77"):
        codec.unpacked(77, b"x" * 100)


def test_threads_compress_and_read_at_once() -> None:
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            start = draw.randrange(6000)
            content = dictionary.CONTENT[start : start + draw.randrange(900)] + draw.randbytes(20)
            if codec.content(codec.column(content, hasty=draw.random() < 0.5)) != content:
                wrong.append(content)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
