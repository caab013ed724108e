"""What is freed is given back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gatewayd import malloc

MIB = 1 << 20
FRAGMENTED = """
import os
from gatewayd import malloc

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

trimmer = malloc.Trimmer()
kept = [bytes(60_000) for _ in range(3000)]
full = resident()
del kept[:-1]  # the last one lies at the heap's upper end
fragmented = resident()
assert trimmer.look()
print(full, fragmented, resident())
"""


@pytest.mark.skipif(not malloc.can_trim(), reason="this C library gives memory back by itself")
def test_memory_that_was_freed_below_what_is_used_is_given_back() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FRAGMENTED], check=True, capture_output=True, text=True, timeout=60
    )
    full, fragmented, left = map(int, told.stdout.split())
    assert fragmented > full - 20, "glibc has got better: is the trimming still needed?"
    assert left < full - 120


def test_the_heap_is_trimmed_when_much_was_freed_since_the_last_time() -> None:
    free, trims = 10 * MIB, []
    trimmer = malloc.Trimmer(measure=lambda: free, give_back=lambda: trims.append(free))
    looks = []
    for mib in (20, 41, 43, 5, 36, 38, 70):  # trimmed at 43 (10 + 32 are 42) and at 38 (5 + 32 are 37)
        free = mib * MIB
        looks.append(trimmer.look())
    assert looks == [False, False, True, False, False, True, True]
    assert trims == [43 * MIB, 38 * MIB, 70 * MIB]
