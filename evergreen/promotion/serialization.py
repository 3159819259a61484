"""Models at rest, in the skops format: loading one runs no code that the file brought along.

A skops file names the types that it is made of. Scikit-learn's own are trusted; any other must be
listed here. An estimator of your own needs its class in ``TRUSTED_TYPES``, and nothing else.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, Final

from evergreen.errors import InputError, UnreachableError

OUR_TYPES: Final[tuple[str, ...]] = (
    "evergreen.features.build.level_name",
    "evergreen.features.columns.DateParts",
    "evergreen.features.columns.DeriveColumns",
    "evergreen.features.imputing.NumberImputer",
    "evergreen.features.selection.SelectFeatures",
    "evergreen.training.xgboost_adapter.LabelledXGBClassifier",
)

LIBRARY_TYPES: Final[tuple[str, ...]] = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    # The nodes of trees are read unchecked: a forged file may crash the process, though not run
    # code. A bundle's checksums keep damaged files from getting this far.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)

TRUSTED_TYPES: Final[tuple[str, ...]] = tuple(sorted((*OUR_TYPES, *LIBRARY_TYPES)))


def save_model(model: Any, path: Path | str) -> None:
    """Write a fitted scikit-learn pipeline to one file.

    Raises
    ------
    InputError
        If the model holds something that the format cannot express, such as a lambda.
    UnreachableError
        If the file cannot be written.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    path = Path(path)
    try:
        skops.io.dump(model, path)
    except UnsupportedTypeException as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"The model cannot be saved: {error}. Build it of classes and functions that can be "
            "imported by name."
        ) from error
    except OSError as error:
        raise UnreachableError(f"Cannot write the model {path}: {_reason(error)}") from error


def load_model(path: Path | str) -> Any:
    """Return the model in a file that `save_model` (or MLflow, in skops format) wrote.

    Raises
    ------
    InputError
        If the file is no such file, is damaged, holds a type that is not trusted, or was written
        by a version whose classes are no longer there.
    UnreachableError
        If the file is not there or cannot be read.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    path = Path(path)
    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise InputError(_untrusted(path)) from error
    except zipfile.BadZipFile as error:
        raise InputError(f"The model file {path} is damaged, or in another format.") from error
    except OSError as error:
        raise UnreachableError(f"Cannot read the model {path}: {_reason(error)}") from error
    except (KeyError, ValueError, TypeError, ImportError, AttributeError) as error:
        raise InputError(
            f"The model file {path} cannot be loaded: {error}. It is damaged, or another version "
            "wrote it; train again."
        ) from error


def _untrusted(path: Path) -> str:
    import skops.io

    found = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
    return (
        f"The model file {path} holds types that are not trusted: {', '.join(found)}. If they are "
        "an estimator of your own, add them to TRUSTED_TYPES in "
        "evergreen/promotion/serialization.py; otherwise do not load this file."
    )


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
