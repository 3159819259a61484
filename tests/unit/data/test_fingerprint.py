"""The fingerprint of a table: the same however it is cut, and joined of parts that blocks end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data import fingerprint as fingerprints
from evergreen.data.fingerprint import Fingerprint, HashedRows

BLOCK = 7


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "BLOCK_ROWS", BLOCK)
        yield


def table(rows: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": random.normal(size=rows),
            "text": pd.Series(random.choice(["a", "bc", None], rows), dtype="str"),
            "truth": pd.Series(random.choice([True, None], rows), dtype=object),
            "moment": pd.date_range("2024-01-01", periods=rows, freq="h").as_unit("us"),
        }
    )


def hashed(frame: pd.DataFrame, cuts: list[int]) -> HashedRows:
    """Return the digests of a frame that comes in pieces."""
    found = Fingerprint()
    ends = [0, *sorted(cuts), len(frame)]
    schema = pa.Table.from_pandas(table()[list(frame.columns)], preserve_index=False).schema
    for start, end in pairwise(ends):
        piece = frame.iloc[start:end]
        found.add(piece, pa.Table.from_pandas(piece, schema, preserve_index=False))
    return found.hashed()


@given(st.lists(st.integers(0, 40), max_size=6))
def test_it_is_the_same_in_other_pieces(cuts):
    assert hashed(table(), cuts) == hashed(table(), [])


@pytest.mark.parametrize("at", [BLOCK, 3 * BLOCK, 5 * BLOCK])
@pytest.mark.parametrize("rows", [36, 5 * BLOCK])
def test_parts_that_blocks_end_give_that_of_the_whole(at, rows):
    frame = table(rows)
    parts = [part for part in (frame.iloc[:at], frame.iloc[at:]) if len(part)]
    joined = HashedRows.joined(hashed(part, [3]) for part in parts)
    assert joined == hashed(frame, [])
    assert joined.hexdigest() == hashed(frame, []).hexdigest()


def test_a_part_that_ends_elsewhere_cannot_be_joined():
    first, rest = (hashed(part, []) for part in (table().iloc[:5], table().iloc[5:]))
    with pytest.raises(ValueError, match="only the last part"):
        HashedRows.joined([first, rest])
    with pytest.raises(ValueError, match="the same columns"):
        HashedRows.joined([hashed(table(BLOCK), []), hashed(table().drop(columns="text"), [])])


@pytest.mark.parametrize("row", [0, BLOCK - 1, BLOCK, 39])
def test_any_row_makes_another_one(row):
    changed = table()
    changed.loc[row, "number"] += 1e-9
    assert hashed(changed, []).hexdigest() != hashed(table(), []).hexdigest()
    texts = table()
    texts.loc[row, "text"] = "d"
    assert hashed(texts, []).hexdigest() != hashed(table(), []).hexdigest()


def test_rows_that_change_places_make_another_one():
    order = [*range(BLOCK, 2 * BLOCK), *range(BLOCK), *range(2 * BLOCK, 40)]
    swapped = table().iloc[order].reset_index(drop=True)
    assert hashed(swapped, []).hexdigest() != hashed(table(), []).hexdigest()
