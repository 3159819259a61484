"""Memory that is freed and taken again is cleared by the system once, or each time."""

import json
import platform
import subprocess
import sys

import pytest

PROBE = """
import json, resource, sys
import numpy as np
import pyarrow as pa
from evergreen.data.memory import give_back_freed_memory, keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def taken(take):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    take()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def numbers():  # each too small for huge pages
    held = [np.ones(200_000) for _ in range(100)]

def arrow():
    held = [pa.allocate_buffer(1_600_000) for _ in range(100)]
    for each in held:
        np.frombuffer(each, dtype=np.uint8)[:] = 1

if sys.argv[1] == "given back":
    keep_freed_memory()
    numbers()
    give_back_freed_memory()

print(json.dumps([[taken(take) for _ in range(3)] for take in (numbers, arrow)]))
"""


def faults(what):
    found = subprocess.run(
        [sys.executable, "-c", PROBE, what], capture_output=True, check=True, text=True
    )
    return json.loads(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it asks GNU's C library to")
def test_memory_is_cleared_once_where_it_is_kept():
    (first, *later), arrow = faults("kept")
    assert first > 10_000
    assert max(later + arrow) < first / 2  # Arrow takes what NumPy has freed


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it asks GNU's C library to")
def test_what_was_kept_can_be_given_back():
    (first, second, _), _ = faults("given back")
    assert first > 10_000
    assert second < first / 2


def test_memory_is_cleared_each_time_otherwise():
    (first, *later), _ = faults("not kept")
    assert min(first, *later) > 10_000
