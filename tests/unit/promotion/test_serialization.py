"""Models come back from disk as they were, and foreign types stay out."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig, SelectionConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.errors import InputError, UnreachableError
from evergreen.features import build_features
from evergreen.promotion.serialization import TRUSTED_TYPES, load_model, save_model
from evergreen.training.candidates import BY_NAME
from tests.support.models import small_contract, small_model, small_table

CANDIDATES = [(task, candidate.name) for candidate in BY_NAME.values() for task in candidate.tasks]


class Stranger(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(("task", "candidate"), CANDIDATES)
def test_every_candidate_predicts_alike_after_loading(tmp_path, task, candidate):
    model = small_model(task, candidate)
    inputs = model_frame(small_table(task), small_contract(task))
    save_model(model, tmp_path / "model.skops")

    loaded = load_model(tmp_path / "model.skops")

    expected, found = model.predict(inputs), loaded.predict(inputs)
    assert expected.dtype == found.dtype
    np.testing.assert_array_equal(expected, found)
    if task == "classification":
        np.testing.assert_array_equal(model.predict_proba(inputs), loaded.predict_proba(inputs))


@pytest.mark.parametrize("encode", ["one_hot", "ordinal"])
@pytest.mark.parametrize("selection", ["rfe", "mutual_information"])
def test_every_kind_of_preprocessing_survives(tmp_path, encode, selection):
    contract, frame = small_contract(), small_table()
    features = build_features(
        contract,
        FeaturesConfig(
            derive={"ratio": "`mast / height` / crew"},
            encode=EncodeConfig(method=encode),
            impute=ImputeConfig(indicator=True, categories="most_frequent"),
            selection=SelectionConfig(method=selection, max_features=3),
        ),
        scale=True,
        seed=1,
    ).fit(model_frame(frame, contract), target_values(frame, contract))
    save_model(features, tmp_path / "features.skops")

    loaded = load_model(tmp_path / "features.skops")

    inputs = model_frame(frame, contract)
    np.testing.assert_array_equal(features.transform(inputs), loaded.transform(inputs))


def test_histogram_boosting_is_trusted(tmp_path):
    X = np.arange(60.0).reshape(-1, 1)
    model = HistGradientBoostingRegressor(max_iter=3).fit(X, X[:, 0])
    save_model(model, tmp_path / "model.skops")
    np.testing.assert_array_equal(load_model(tmp_path / "model.skops").predict(X), model.predict(X))


def test_trusted_types_exist():
    import importlib

    for name in TRUSTED_TYPES:
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name


def test_untrusted_type_is_named(tmp_path):
    save_model(Pipeline([("stranger", Stranger())]), tmp_path / "model.skops")
    with pytest.raises(InputError, match=r"not trusted: .*\.Stranger\. .*TRUSTED_TYPES"):
        load_model(tmp_path / "model.skops")


def test_lambda_cannot_be_saved(tmp_path):
    path = tmp_path / "model.skops"
    with pytest.raises(InputError):
        save_model(FunctionTransformer(lambda x: x), path)
        load_model(path)


def test_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(pickle.dumps(small_model()))
    with pytest.raises(InputError, match="damaged, or in another format"):
        load_model(path)


def test_truncated_file_is_an_input_error(tmp_path):
    path = tmp_path / "model.skops"
    save_model(small_model(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError):
        load_model(path)


def test_archive_without_a_schema_is_an_input_error(tmp_path):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "nothing")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(path)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(UnreachableError, match="No such file"):
        load_model(tmp_path / "absent.skops")
    with pytest.raises(UnreachableError, match="No such file"):
        save_model(small_model(), tmp_path / "absent" / "model.skops")
