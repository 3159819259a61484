"""The spool by itself: segments, chunks, locks and what a sudden end leaves."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.serving.spool import Spool, from_lines, to_line


def lines(*numbers: int, width: int = 0) -> list[bytes]:
    return [to_line(b'{"n":%d,"x":"%s"}' % (number, b"x" * width)) for number in numbers]


def drain(spool: Spool, limit: int = 10**6) -> list[bytes]:
    contents: list[bytes] = []
    while (chunk := spool.read(limit)) is not None:
        contents += chunk.contents
        spool.done(chunk)
    return contents


def numbers(contents: list[bytes]) -> list[int]:
    return [int(content.split(b":")[1].split(b",")[0]) for content in contents]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_what_is_appended_is_read_in_order(tmp_path):
    spool = Spool(tmp_path)
    assert spool.read(100) is None
    spool.append(lines(1, 2))
    spool.append(lines(3))
    assert spool.rows == 3
    assert numbers(drain(spool)) == [1, 2, 3]
    assert (spool.rows, spool.read(100)) == (0, None)
    spool.close()
    assert files(tmp_path) == []


def test_nothing_is_made_before_the_first_row(tmp_path):
    spool = Spool(tmp_path / "spool")
    assert spool.adopt() == 0
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_a_loaded_file_is_used_again(tmp_path):
    spool = Spool(tmp_path)
    for number in range(5):
        spool.append(lines(number))
        assert numbers(drain(spool)) == [number]
        assert [file.stat().st_size for file in files(tmp_path)] == [0]
    spool.close()


def test_long_outages_make_several_files(tmp_path):
    spool = Spool(tmp_path, segment_bytes=200)
    for number in range(20):
        spool.append(lines(number, width=50))
    assert len(files(tmp_path)) > 5
    assert numbers(drain(spool)) == list(range(20))
    assert len(files(tmp_path)) == 1
    spool.close()


@pytest.mark.parametrize("limit", [1, 40, 300, 10**6])
def test_chunks_hold_whole_lines(tmp_path, limit):
    spool = Spool(tmp_path, segment_bytes=500)
    spool.append(lines(*range(10), width=30))
    spool.append(lines(10, width=5000))
    spool.append(lines(11, 12))
    found = drain(spool, limit)
    assert numbers(found) == list(range(13))
    spool.close()


def test_rows_left_behind_are_adopted_once(tmp_path):
    first = Spool(tmp_path)
    first.append(lines(1, 2, 3))
    chunk = first.read(30)
    first.done(chunk)
    first.close()
    second, third = Spool(tmp_path), Spool(tmp_path)
    assert second.adopt() == 3  # those already loaded come again, and do no harm
    assert (second.adopt(), third.adopt()) == (0, 0)
    assert numbers(drain(second)) == [1, 2, 3]
    assert files(tmp_path) == []
    second.close()


def test_an_empty_file_left_behind_is_removed(tmp_path):
    (tmp_path / "1-2-3.spool").touch()
    assert Spool(tmp_path).adopt() == 0
    assert files(tmp_path) == []


def test_a_failed_append_leaves_nothing_of_it(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    spool.append(lines(1))
    real = os.write

    def half(descriptor, data):
        monkeypatch.setattr(os, "write", full)
        return real(descriptor, bytes(data)[: len(data) // 2])

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        spool.append(lines(2, 3))
    monkeypatch.setattr(os, "write", real)
    spool.append(lines(4))
    assert numbers(drain(spool)) == [1, 4]
    spool.close()


def test_a_file_is_not_trusted_after_a_failed_fsync(tmp_path, monkeypatch):
    spool = Spool(tmp_path, durable=True)
    spool.append(lines(1))

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output"):
        spool.append(lines(2))
    monkeypatch.setattr(os, "fdatasync", real)
    spool.append(lines(3))
    assert len(files(tmp_path)) == 2
    assert numbers(drain(spool)) == [1, 3]
    spool.close()


def test_a_file_that_somebody_cut_short_is_passed_over(tmp_path):
    spool = Spool(tmp_path)
    spool.append(lines(1, 2))
    os.truncate(files(tmp_path)[0], 0)
    chunk = spool.read(1000)
    assert (chunk.contents, chunk.damaged) == ((), 2)
    spool.done(chunk)
    assert (spool.read(1000), spool.rows) == (None, 0)
    spool.close()


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.data())
def test_damage_never_goes_unnoticed(contents, data):
    contents = [content or b"x" for content in contents]
    written = b"".join(map(to_line, contents))
    assert from_lines(written) == (contents, 0)
    if written:
        position = data.draw(st.integers(0, len(written) - 1))
        damaged = bytearray(written)
        damaged[position] ^= data.draw(st.integers(1, 255))
        found, count = from_lines(bytes(damaged))
        assert count >= 1
        assert all(content in contents for content in found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(1, 30), st.just("load"), st.just("die"), st.just("half")),
        max_size=25,
    )
)
def test_every_line_is_loaded_whatever_happens(steps):
    """Appends, loads, loads that are cut off before they are noted, and sudden ends."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), segment_bytes=400)
        appended = 0
        loaded: list[int] = []
        for step in steps:
            if step == "load":
                loaded += numbers(drain(spool, 150))
            elif step == "half":
                chunk = spool.read(150)
                loaded += [] if chunk is None else numbers(list(chunk.contents))
            elif step == "die":
                for segment in spool._segments:
                    os.close(segment.descriptor)  # as the system does; locks go with it
                spool = Spool(Path(folder), segment_bytes=400)
                spool.adopt()
            else:
                spool.append(lines(*range(appended, appended + step)))
                appended += step
        loaded += numbers(drain(spool))
        assert set(loaded) == set(range(appended))
        spool.close()
        assert files(Path(folder)) == []
