"""Window profiles add up, survive being written, and count what is there."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import InputError
from evergreen.monitoring.sample import SAMPLE_ROWS, RowSample
from evergreen.monitoring.window import WindowCounter, WindowProfile
from tests.support.windows import orders_batch, orders_profile

PROFILE = orders_profile()
COUNTER = WindowCounter(PROFILE)
BATCH = orders_batch(
    400, 5, change={"colour": np.array(["blue", "violet", None, "red"] * 100, dtype=object)}
)


def assert_same(one: WindowProfile, other: WindowProfile) -> None:
    assert (one.key, one.rows, one.absent, one.unknown) == (
        other.key,
        other.rows,
        other.absent,
        other.unknown,
    )
    for name, counts in one.columns.items():
        found = other.columns[name]
        np.testing.assert_array_equal(counts.bins, found.bins)
        for field in ("missing", "infinite", "unreadable", "new", "new_rows"):
            assert getattr(counts, field) == getattr(found, field), (name, field)
        assert counts.total == pytest.approx(found.total)
        assert counts.squares == pytest.approx(found.squares)
    for field, sums in vars(one.scores).items():
        np.testing.assert_allclose(sums, getattr(other.scores, field), rtol=1e-4, atol=1e-3)
    assert np.abs(one.errors - other.errors).sum() <= 2  # rounding may move a row at a bin's edge
    for field, values in vars(one.sample).items():
        np.testing.assert_array_equal(values, getattr(other.sample, field))
    made, found = one.predictions, other.predictions
    assert (made.rows, made.missing, made.unknown) == (found.rows, found.missing, found.unknown)
    np.testing.assert_array_equal(made.labels, found.labels)
    np.testing.assert_array_equal(made.sureness, found.sureness)
    for name, bins in made.bins.items():
        np.testing.assert_array_equal(bins, found.bins[name])
    assert made.loss.rows == found.loss.rows
    assert made.loss.mean == pytest.approx(found.loss.mean, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=5), st.randoms(use_true_random=False))
def test_parts_add_up_to_the_whole(cuts, random):
    bounds = [0, *sorted(cuts), 400]
    pieces = [BATCH.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    parts = [COUNTER.count([piece]) for piece in pieces]
    random.shuffle(parts)
    while len(parts) > 1:  # in any order and any bracketing
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    assert_same(parts[0], COUNTER.count([BATCH]))


def test_batches_count_as_one_table():
    batches = [orders_batch(300, seed) for seed in range(4)]
    table = pa.Table.from_batches(batches)
    assert_same(COUNTER.count(batches), COUNTER.count([table]))


def test_it_survives_being_written():
    whole = COUNTER.count([BATCH])
    assert_same(WindowProfile.from_bytes(whole.to_bytes()), whole)
    empty = COUNTER.empty()
    assert_same(WindowProfile.from_bytes(empty.to_bytes()), empty)


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_damaged_bytes_get_a_message(damage):
    data = COUNTER.empty().to_bytes()[:-40] if damage is None else damage
    with pytest.raises(InputError, match="damaged"):
        WindowProfile.from_bytes(data)


def test_parts_of_different_references_do_not_merge():
    other = WindowCounter(orders_profile(seed=2)).empty()
    with pytest.raises(InputError, match="different references"):
        COUNTER.empty().merge(other)


def test_what_is_counted():
    price = np.full(400, 0.5)
    price[:3], price[3:5] = np.inf, np.nan
    window = COUNTER.count([orders_batch(400, 6, change={"price": price})])
    counts = window.columns["price"]
    assert (counts.infinite, counts.missing, counts.present) == (3, 2, 395)
    coloured = COUNTER.count([BATCH]).columns["colour"]
    assert (coloured.missing, coloured.new, coloured.new_rows) == (100, {"violet": 100}, 100)
    assert window.predictions.rows == window.predictions.loss.rows == 400


@pytest.mark.parametrize(
    ("values", "unreadable"),
    [
        (pa.array(["1.5", "x", None, " "] * 100), 100),
        (pa.array([[1.0], None] * 200), 200),
        (pa.array([True, False] * 200), 0),
        (pa.array([b"1", b"2"] * 200), 400),
        (pa.array(["1.5", None] * 200).dictionary_encode(), 0),
    ],
)
def test_other_types_are_read_where_they_can_be(values, unreadable):
    batch = orders_batch(400, 7)
    place = batch.schema.get_field_index("price")
    counts = COUNTER.count([batch.set_column(place, "price", values)]).columns["price"]
    assert counts.unreadable == unreadable
    assert counts.present + counts.missing + counts.unreadable == 400


def test_a_sample_of_many_rows_is_bounded_and_even():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, 50_000).astype(np.uint64)
    codes = [np.arange(50_000).astype(np.uint16)]
    whole = RowSample.of(hashes, codes, None)
    first = RowSample.of(hashes[:30_000], [codes[0][:30_000]], None)
    rest = RowSample.of(hashes[30_000:], [codes[0][30_000:]], first.below)
    assert len(whole.hashes) == SAMPLE_ROWS
    np.testing.assert_array_equal(first.merge(rest).hashes, whole.hashes)
    np.testing.assert_array_equal(first.merge(rest).codes, whole.codes)


def test_copies_are_counted_exactly():
    batch = orders_batch(100, 8)
    window = COUNTER.count([batch, batch, batch.slice(0, 50)])
    assert window.sample.duplicates == pytest.approx(1 - 100 / 250)
    assert sorted(set(window.sample.copies.tolist())) == [2, 3]
