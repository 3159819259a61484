"""Profiles that were made in other ways are the same."""

from __future__ import annotations

import numpy as np

from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reference import Structure
from evergreen.values import Value

SUMS = 1e-4  # of what is summed in single precision, in other orders


def assert_same_profile(found: Profile, expected: Profile) -> None:
    """Compare to the last bit all but what is summed up in single precision."""
    assert found.comparison is not None
    assert expected.comparison is not None
    theirs, ours = found.comparison, expected.comparison
    same = {"comparison": None}
    assert _text(found.model_copy(update=same)) == _text(expected.model_copy(update=same))
    rest = {"structure": None, "key": ""}
    assert _text(theirs.model_copy(update=rest)) == _text(ours.model_copy(update=rest))
    assert theirs.structure is not None
    assert ours.structure is not None
    _assert_same_structure(theirs.structure, ours.structure)


def _text(value: Value) -> str:
    return value.model_dump_json()  # values that hold unpacked arrays cannot be compared


def _assert_same_structure(found: Structure, expected: Structure) -> None:
    assert found.columns == expected.columns
    np.testing.assert_array_equal(found.rows.array(), expected.rows.array())
    for name in ("correlations", "centre", "scale"):
        theirs, ours = (getattr(each, name).array() for each in (found, expected))
        np.testing.assert_allclose(theirs, ours, atol=SUMS)
    np.testing.assert_allclose(found.spread.array(), expected.spread.array(), rtol=10 * SUMS)
    assert found.components is not None
    assert expected.components is not None
    spans = [axes @ axes.T for axes in (found.components.array(), expected.components.array())]
    np.testing.assert_allclose(*spans, atol=10 * SUMS)  # a sign of an axis has no meaning
    assert found.errors is not None
    assert expected.errors is not None
    theirs, ours = found.errors.points.array(), expected.errors.points.array()
    np.testing.assert_allclose(theirs, ours, atol=10 * SUMS)
