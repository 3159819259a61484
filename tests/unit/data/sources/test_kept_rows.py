"""Rows of messages on disk: parts, the manifest that names them, and what is left behind."""

from __future__ import annotations

import pytest

from evergreen.data.sources.kept_rows import KeptRows, Manifest, read_manifest
from evergreen.errors import InputError, UnreachableError

NEW = Manifest(stream="S", subject=None, created="2026-01-01", last=0, end=0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "streams" / "s"


def _kept(folder, *batches, most=10):
    kept, last = KeptRows(folder, "nats s", NEW), 0
    for records in batches:
        kept.append(records, last + 1, last + len(records), most)
        last += len(records)
    return kept


def _rows(kept, columns, start=0, piece_rows=3):
    pieces = list(kept.snapshot().read(columns, start, piece_rows))
    assert all(piece.column_names == list(columns) for piece in pieces)
    assert all(piece.num_rows <= piece_rows for piece in pieces)
    return [row for piece in pieces for row in piece.to_pylist()]


def test_rows_come_back_in_order_with_what_they_lack_missing(folder):
    kept = _kept(folder, [{"a": n} for n in range(8)], [{"b": n} for n in range(5)])
    assert kept.manifest.columns == ("a", "b")
    assert [part.rows for part in kept.manifest.parts] == [8, 5]
    rows = _rows(kept, ("b", "a"))
    assert [row["a"] for row in rows] == [*range(8), *[None] * 5]
    assert [row["b"] for row in rows] == [*[None] * 8, *range(5)]
    assert _rows(kept, ("b",), start=9) == [{"b": n} for n in range(1, 5)]


def test_a_small_part_takes_what_follows(folder):
    kept = _kept(folder, [{"a": 1}], [{"a": 2.5}], [{"a": "x", "b": True}], [{"a": 4}] * 8)
    assert [(part.first, part.last, part.rows) for part in kept.manifest.parts] == [
        (1, 3, 3),
        (4, 11, 8),
    ]
    assert len(list(folder.iterdir())) == 3
    rows = _rows(kept, ("a", "b"))
    assert [row["a"] for row in rows[2:4]] == ["x", 4]
    assert [row["b"] for row in rows[:3]] == [None, None, True]


def test_up_to_where_a_stream_was_looked_at_is_remembered(folder):
    kept = _kept(folder, [{"a": 1}])
    kept.note_end(17)
    kept.note_end(16)
    again = KeptRows(folder, "nats s", NEW)
    assert (again.manifest.last, again.manifest.end, again.manifest.rows) == (1, 17, 1)
    assert again.manifest == read_manifest(folder)


def test_what_no_manifest_names_is_removed(folder):
    kept = _kept(folder, [{"a": 1}])
    (folder / "00000000000000000009.parquet").write_bytes(b"half")
    (folder / ".manifest.json.abc.tmp").write_bytes(b"{")
    again = KeptRows(folder, "nats s", NEW)
    assert sorted(path.name for path in folder.iterdir()) == [
        kept.manifest.parts[0].file,
        "manifest.json",
    ]
    assert _rows(again, ("a",)) == [{"a": 1}]


def test_a_snapshot_stays_what_it_was(folder):
    kept = _kept(folder, [{"a": n} for n in range(10)], [{"a": 10}])
    before = kept.snapshot()
    kept.append([{"a": 11}], 12, 12, 10)
    KeptRows(folder, "nats s", NEW)
    found = [row["a"] for piece in before.read(("a",), 0, 4) for row in piece.to_pylist()]
    assert found == list(range(11))


@pytest.mark.parametrize(
    ("records", "complaint"),
    [([{}, {}], "messages 1 to 2: no message has a value"), ([{"a": 1, " a": 2}], "'a'")],
)
def test_records_that_are_no_rows(folder, records, complaint):
    with pytest.raises(InputError, match=complaint):
        _kept(folder, records)
    assert read_manifest(folder) is None


def test_a_folder_that_cannot_be_written(folder):
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(UnreachableError, match="Not a directory"):
        _kept(folder, [{"a": 1}])
