"""Categories reach ONNX Runtime as text that it can take, in few rows and in many."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.serving.onnx_model import FEW, _texts


@pytest.mark.parametrize("copies", [1, FEW])
def test_texts_are_the_same_in_few_rows_and_in_many(copies):
    column = np.array(["red", "Åbo", None, "", "lone \ud800 surrogate"] * copies, dtype=object)
    other = np.array(["a", "b", "c", "d", "e"] * copies, dtype=object)
    packed = _texts([column, other])
    assert packed[:, 0].tolist() == ["red", "Åbo", "", "", "lone ? surrogate"] * copies
    assert packed[:, 1].tolist() == other.tolist()
