"""Features of a table in memory, made by threads, are those of the pipeline's own fit."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig, SelectionConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.features import build_features, in_memory, is_fitted
from evergreen.features.in_memory import features_of, fit_on_frame
from tests.support.search_tables import mixed_table

KINDS = {
    "plain": FeaturesConfig(),
    "derived": FeaturesConfig(derive={"ratio": "`alcohol/vol` / `size [m]`"}),
    "numbers alone": FeaturesConfig(drop=("<colour>", "sold on")),
    "ordinal": FeaturesConfig(encode=EncodeConfig(method="ordinal", min_frequency=0.3)),
    "gaps told": FeaturesConfig(impute=ImputeConfig(numbers="mean", indicator=True)),
    "selected": FeaturesConfig(
        selection=SelectionConfig(method="mutual_information", max_features=3)
    ),
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let the branches be made of a few rows, and the features in many pieces."""
    monkeypatch.setattr(in_memory, "FIRST_ROWS", 2)
    monkeypatch.setattr(in_memory, "PIECE_VALUES", 100)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_pipelines_own_fit(kind, scale):
    table, contract = mixed_table(rows=500)
    inputs, target = model_frame(table, contract), target_values(table, contract)
    ours, plain = (build_features(contract, KINDS[kind], scale=scale, seed=0) for _ in range(2))
    wanted = plain.fit_transform(inputs, target)
    assert not is_fitted(ours)

    fit_on_frame(ours, inputs, target)

    assert is_fitted(ours)
    assert list(ours.get_feature_names_out()) == list(plain.get_feature_names_out())
    assert ours.transform(inputs).tobytes() == wanted.tobytes()
    found = features_of(ours, inputs, np.float64, "K")
    assert np.array_equal(found, wanted)
    assert found.flags.f_contiguous == wanted.flags.f_contiguous  # some sums depend on it
    single = features_of(ours, inputs, np.float32, "F")
    assert single.flags.f_contiguous
    assert np.array_equal(single, wanted.astype(np.float32))
