"""The data sets that come with scikit-learn, under plain column names.

Every data set's target column is ``target``; classes are named by their text. California housing
is turned back into the counts of the census, with the target ``median_house_value`` in US dollars.
"""

from __future__ import annotations

import os
import pickle
import re
import socket
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.source_config import SklearnSource
from evergreen.errors import InputError, UnreachableError

CACHE_FILE = "cal_housing_py3.pkz"  # what scikit-learn's fetcher writes
COUNT_TOLERANCE = 1e-6  # relative; averages in double precision come back within about 1e-15
CONNECT_TIMEOUT = 20.0


def read_sklearn(source: SklearnSource) -> pd.DataFrame:
    """Return the data set ``source.name``.

    Raises
    ------
    UnreachableError
        California housing is neither cached nor can it be fetched.
    InputError
        The cached copy is damaged or not the original table.
    """
    if source.name == "california_housing":
        return _california_housing()
    return _bundled(source.name)


def _bundled(name: str) -> pd.DataFrame:
    from sklearn import datasets

    loaders: dict[str, Any] = {
        "wine": datasets.load_wine,
        "iris": datasets.load_iris,
        "breast_cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = loaders[name](as_frame=True, **options)
    frame: pd.DataFrame = bunch.frame.rename(columns=_snake_case)
    if "target_names" in bunch:
        names = np.asarray(bunch.target_names, dtype=object)
        frame["target"] = pd.Series(names[frame["target"]], dtype="str")
    return frame


def _snake_case(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def _california_housing() -> pd.DataFrame:
    """Return the table of Pace & Barry (1997), one row per block group of the 1990 census."""
    from sklearn.datasets import fetch_california_housing

    cache = _cache_file()
    try:
        with _patience(CONNECT_TIMEOUT):
            bunch = fetch_california_housing(as_frame=True, n_retries=1)
    except (OSError, HTTPException) as error:
        raise UnreachableError(
            f"sklearn:california_housing is not cached and cannot be fetched ({error}). The cached "
            f"copy is looked for at {cache}. To provide it, call scikit-learn's "
            f"fetch_california_housing() once on a machine with a network and copy {CACHE_FILE} "
            "from ~/scikit_learn_data there, or set SCIKIT_LEARN_DATA to its folder"
        ) from error
    except (
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        pickle.UnpicklingError,
        zlib.error,
    ) as error:
        raise InputError(
            f"The cached copy {cache} is damaged ({type(error).__name__}: {error}); "
            "delete it, or replace it by a whole one"
        ) from error
    return _with_raw_counts(bunch.frame, cache)


def _with_raw_counts(frame: pd.DataFrame, cache: Path) -> pd.DataFrame:
    """Undo the averages that the fetcher computes: they are counts divided by households."""
    households = frame["Population"] / frame["AveOccup"]
    counts = pd.DataFrame(
        {
            "housing_median_age": frame["HouseAge"],
            "total_rooms": frame["AveRooms"] * households,
            "total_bedrooms": frame["AveBedrms"] * households,
            "population": frame["Population"],
            "households": households,
        }
    )
    whole = counts.round()
    if not np.isclose(counts, whole, rtol=COUNT_TOLERANCE, atol=0).all():
        raise InputError(
            f"The cached copy {cache} does not hold the original table: rooms, bedrooms, "
            "population and households must be whole numbers above 0"
        )
    places = frame[["Longitude", "Latitude"]].rename(columns=str.lower)
    money = pd.DataFrame(
        {
            "median_income": frame["MedInc"],
            # The fetcher divides dollars by 100,000; rounding to cents undoes that exactly.
            "median_house_value": (frame["MedHouseVal"] * 100_000.0).round(2),
        }
    )
    return pd.concat([places, whole.astype("int64"), money], axis=1)


def _cache_file() -> Path:
    """Return where the fetcher looks; its own function would create the folder."""
    folder = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    return Path(folder).expanduser() / CACHE_FILE


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Bound how long the fetcher, which has no timeout of its own, waits for the network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Retry downloading")
            yield
    finally:
        socket.setdefaulttimeout(before)
