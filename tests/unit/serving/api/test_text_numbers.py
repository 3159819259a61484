"""Numbers written in CSV are read alike, one by one and all at once, and as pandas reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.casting import as_number
from evergreen.data.contract import Column
from evergreen.serving.parsing.fields import Field, Findings
from evergreen.serving.settings import ServingConfig

COLUMN = Column(name="x", type="number", role="feature", nullable=True)
FIELD = Field(COLUMN, ServingConfig())
written = st.one_of(
    st.floats(-1e30, 1e30).map(repr),
    st.integers().map(str),
    st.sampled_from(["", " ", "NA", "nan", "inf", "-Infinity", "1_000", " 2 ", "+3", ".5", "5."]),
    st.sampled_from(["1e400", "0x10", "١٢", "1,5", "--1", "1e5", "1E+5", "e5", "True", "None"]),
    st.text(max_size=3),
)


@given(texts=st.lists(written, min_size=1, max_size=4))
def test_what_is_read_is_what_pandas_reads(texts):
    findings = Findings()
    found = FIELD.from_text(texts, findings)
    refused = {error.row for error in findings.errors}
    expected = as_number(pd.Series(texts, dtype=object)).to_numpy()
    for row, text in enumerate(texts):
        if row not in refused:
            # pandas drops digits: after the point it counts leading zeros as such.
            assert np.isclose(found[row], expected[row], 1e-12, 0, equal_nan=True), text
    for row, text in enumerate(texts):
        alone = Findings()
        single = FIELD.from_text([text], alone)
        assert bool(alone.errors) == (row in refused), text
        assert np.array_equal(single[0], found[row], equal_nan=True)


@pytest.mark.parametrize(
    "text", ["inf", "-Infinity", "1_000", "0x10", "١٢", "1,5", "1e400", "True"]
)
def test_what_is_no_number_is_refused(text):
    findings = Findings()
    FIELD.from_text(["1", text], findings)
    assert [error.row for error in findings.errors] == [1]


@pytest.mark.parametrize("text", ["", " ", "NA", "nan", "None", "<NA>"])
def test_what_stands_for_a_missing_value_is_missing(text):
    findings = Findings()
    assert np.isnan(FIELD.from_text(["1", text], findings)[1])
    assert not findings.errors
