"""The fast way and the long way of reading a row never disagree."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.contract import Column, Contract
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.rows import FastRow
from evergreen.serving.parsing.tables import TableReader
from evergreen.serving.problems import Problem
from evergreen.serving.settings import ServingConfig

CONTRACT = Contract(
    use_case="odd",
    task="regression",
    target="y",
    columns=(
        Column(name="a: b", type="number", role="feature", nullable=True, minimum=0, maximum=9),
        Column(
            name="n",
            type="integer",
            role="feature",
            nullable=False,
            minimum=-3,
            maximum=3,
            declared=("maximum", "minimum"),
        ),
        Column(name="é", type="boolean", role="feature", nullable=False),
        Column(name="c", type="category", role="feature", nullable=True, categories=("x:y", "z")),
        Column(name="free", type="category", role="feature", nullable=False),
        Column(name="t", type="timestamp", role="feature", nullable=True, format="%d.%m.%Y"),
        Column(name="y", type="number", role="target", nullable=False),
    ),
)
TABLE = TableReader(CONTRACT, ServingConfig())
FAST = FastRow(TABLE.fields)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 12),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["x:y", "z", "", " ", "31.12.2025", "2025-12-31", "a\0", "::", "\u2028", "\x1c"]
    ),
    st.text(max_size=4),
)
rows = st.fixed_dictionaries(dict.fromkeys(TABLE.names, values)) | st.fixed_dictionaries(
    {
        "a: b": st.floats(0, 9),
        "n": st.integers(-3, 3),
        "é": st.booleans(),
        "c": st.sampled_from(["x:y", "z", None]),
        "free": st.text(min_size=1, max_size=5),
        "t": st.sampled_from(["31.12.2025", "2025-12-31T10:00:00Z", None, "32.1.2025"]),
    }
)


def compare(body: bytes, by_list: bool = False) -> bool:
    """Read a body both ways; say whether the fast one took it."""
    found = FAST.read(body)
    inputs = None if found is None else FAST.inputs(found)
    if inputs is None:
        return False
    content = read_json(body)  # raises where the fast way was wrong to take it
    wanted, findings = TABLE.lists([content["features"]]) if by_list else TABLE.records([content])
    assert not findings.flags
    for name, array in wanted.items():
        assert array.dtype == inputs[name].dtype
        if array.dtype == object:
            assert inputs[name].tolist() == array.tolist()
        else:
            assert np.array_equal(inputs[name], array, equal_nan=True), name
    return True


@given(row=rows, ascii_only=st.booleans())
def test_what_the_fast_way_takes_the_long_way_reads_alike(row, ascii_only):
    compare(json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    body = json.dumps({"features": list(row.values())}, ensure_ascii=ascii_only)
    compare(body.encode("utf-8", "surrogatepass"), by_list=True)


@given(row=rows, name=st.sampled_from(TABLE.names), value=values)
def test_a_name_that_stands_twice_is_never_taken(row, name, value):
    body = json.dumps(row, ensure_ascii=False)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
    content = body.encode("utf-8", "surrogatepass")
    assert FAST.read(content) is None
    try:
        read_json(content)
    except Problem as problem:
        assert problem.status == 400
    else:
        raise AssertionError(body)


def test_plain_rows_go_the_fast_way():
    row = {"a: b": 1.5, "n": 2, "é": True, "c": "x:y", "free": "a::b", "t": "31.12.2025"}
    assert compare(json.dumps(row, ensure_ascii=False).encode())
    assert compare(json.dumps({"features": list(row.values())}).encode(), by_list=True)
    rows_read = FAST.read_many(json.dumps([row, row], ensure_ascii=False).encode())
    assert rows_read == [tuple(row.values())] * 2
    assert FAST.read(json.dumps({**row, "n": 4}, ensure_ascii=False).encode()) is None
    assert FAST.read(json.dumps({**row, "a: b": 9.5}, ensure_ascii=False).encode()) is None
