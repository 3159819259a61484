"""A model in MLflow's format, which MLflow's server and its kin can load without Evergreen."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evergreen.data.contract import Contract
from evergreen.promotion.bundled_code import copy_code
from evergreen.promotion.serialization import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas as pd

MODEL_FILE: Final = "model.skops"
EXAMPLE_ROWS: Final = 5

# What loading and predicting imports, whatever the estimator.
REQUIRED: Final = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy", "pydantic")
# Distributions of the libraries that only some estimators need; the first one installed counts.
OPTIONAL: Final = {"xgboost": ("xgboost-cpu", "xgboost"), "lightgbm": ("lightgbm",)}

_COLUMN_TYPES: Final = {
    "number": "double",
    "integer": "double",
    "boolean": "double",
    "category": "string",
    "identifier": "string",
    "timestamp": "datetime",
}


def save_mlflow_model(model: Any, folder: Path, contract: Contract, example: pd.DataFrame) -> None:
    """Write the model, its signature, an input example, its requirements and its code.

    ``folder`` must be empty or absent; ``example`` is a model frame, of which five rows are kept.
    The code is what the model needs of this package, so that nothing needs it installed.
    """
    import mlflow.sklearn

    with tempfile.TemporaryDirectory() as code:
        mlflow.sklearn.save_model(
            model,
            str(folder),
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=signature(contract),
            input_example=example.head(EXAMPLE_ROWS),
            # Given, not inferred: inferring them loads the model in another process, for seconds.
            pip_requirements=requirements(model),
            code_paths=[str(copy_code(TRUSTED_TYPES, Path(code)))],
        )


def signature(contract: Contract) -> Any:
    """Return MLflow's signature: the contract's features in, the prediction out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = [ColSpec(_COLUMN_TYPES[column.type], column.name) for column in contract.features]
    return ModelSignature(Schema(inputs), Schema([ColSpec(_output_type(contract))]))


def requirements(model: Any) -> list[str]:
    """Return what a model needs, pinned to what is installed."""
    names = list(REQUIRED)
    modules = {kind.__module__.split(".")[0] for kind in _estimator(model).__mro__}
    for module, distributions in OPTIONAL.items():
        if module in modules:
            names.append(next(name for name in distributions if _version(name)))
    return [f"{name}=={_version(name)}" for name in names]


def _estimator(model: Any) -> type[Any]:
    return type(model.steps[-1][1]) if hasattr(model, "steps") else type(model)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output_type(contract: Contract) -> str:
    kinds = {type(label) for label in contract.labels or ()}
    if contract.task == "regression" or kinds == {float}:
        return "double"
    return {frozenset({int}): "long", frozenset({bool}): "boolean"}.get(frozenset(kinds), "string")
