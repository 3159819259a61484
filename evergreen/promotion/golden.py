"""Golden rows: inputs with the answers that a model gave at training.

Whoever loads the model later, on another machine or runtime, replays them before it serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.config import ColumnType
from evergreen.data.contract import Contract
from evergreen.errors import InputError
from evergreen.values import Value

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS: Final = 50
# Of probabilities absolutely, of regressions relative to the greatest golden prediction. The
# same arithmetic on another processor differs by less than 1e-9; single precision by 1e-7.
TOLERANCE: Final = 1e-6

Columns = Mapping[str, npt.NDArray[Any]]

PREDICTION: Final = "evergreen.prediction"
PROBABILITY: Final = "evergreen.probability."  # followed by the label


class Replay(Value):
    """How golden rows came out when they were predicted anew."""

    passed: bool
    rows: int
    difference: float | None  # the greatest; None where it could not be measured
    tolerance: float
    message: str


def make_golden(model: Any, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return up to 50 rows, evenly taken, of a model frame, with the model's answers.

    Columns: those of the frame, ``evergreen.prediction``, and for a classifier with
    probabilities ``evergreen.probability.LABEL`` for each of its classes.
    """
    import pandas as pd

    positions = np.unique(np.linspace(0, len(inputs) - 1, min(MAX_ROWS, len(inputs))).astype(int))
    chosen = inputs.iloc[positions].reset_index(drop=True)
    return pd.concat([chosen, answers(model, chosen)], axis=1)


def answers(model: Any, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return a model's predictions, and probabilities where it has them, one row per input."""
    import pandas as pd

    columns: dict[str, Any] = {PREDICTION: np.asarray(model.predict(inputs)).reshape(-1).tolist()}
    if hasattr(model, "predict_proba"):
        probabilities = np.asarray(model.predict_proba(inputs), dtype=np.float64)
        for position, label in enumerate(model.classes_.tolist()):
            columns[f"{PROBABILITY}{label}"] = probabilities[:, position]
    return pd.DataFrame(columns)


def golden_inputs(golden: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the part of golden rows that a model takes."""
    return golden[[column.name for column in contract.features]]


def compare(
    golden: pd.DataFrame, found: pd.DataFrame, contract: Contract, tolerance: float = TOLERANCE
) -> Replay:
    """Compare answers with golden ones; ``found`` has the columns that `answers` gives.

    A class may differ from the golden one only where the two are equally probable.
    """
    return compare_columns(
        {str(name): golden[name].to_numpy() for name in golden.columns},
        {str(name): found[name].to_numpy() for name in found.columns},
        contract,
        tolerance,
    )


def compare_columns(
    golden: Columns, found: Columns, contract: Contract, tolerance: float = TOLERANCE
) -> Replay:
    """Do what `compare` does with plain arrays, which need no pandas."""
    rows = len(golden[PREDICTION])
    names = [name for name in golden if name.startswith(PROBABILITY)]
    absent = [name for name in [PREDICTION, *names] if name not in found]
    came = 0 if absent else len(found[PREDICTION])
    if absent or rows != came:
        lacking = f"{', '.join(absent)} is missing" if absent else f"{came} rows came back"
        return _failed(rows, None, tolerance, f"the answers do not fit: {lacking}")
    if contract.task == "regression":
        expected = golden[PREDICTION].astype(np.float64)
        actual = found[PREDICTION].astype(np.float64)
        scale = float(np.abs(expected).max()) or 1.0
        return _judge(rows, np.abs(expected - actual) / scale, tolerance)
    differences = np.abs(_matrix(golden, names, rows) - _matrix(found, names, rows))
    wrong = _other_classes(golden, found, tolerance)
    if len(wrong):
        row = wrong[0]
        reason = (
            f"row {row} was predicted as {golden[PREDICTION][row]!r}, and is now predicted as "
            f"{found[PREDICTION][row]!r}"
        )
        return _failed(rows, _greatest(differences), tolerance, reason)
    return _judge(rows, differences, tolerance)


def read_golden(path: Path, contract: Contract) -> dict[str, npt.NDArray[Any]]:
    """Read golden rows without pandas: inputs in canonical dtypes, and the answers.

    Numbers are float64 (missing NaN), categories objects (missing None), timestamps
    datetime64[us] (missing NaT), predictions labels or float64.

    Raises
    ------
    InputError
        If the file is no table, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # `pyarrow.parquet.read_table` would import pandas
            table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"The golden rows {path} cannot be read: {error}") from error
    absent = [c.name for c in contract.features if c.name not in table.column_names]
    if absent or PREDICTION not in table.column_names:
        raise InputError(
            f"The golden rows {path} lack the column {(absent or [PREDICTION])[0]!r}: they belong "
            "to another contract."
        )
    golden: dict[str, npt.NDArray[Any]] = {}
    for column in contract.features:
        golden[column.name] = _canonical(table[column.name], column.type)
    labels = table[PREDICTION].to_pylist()
    golden[PREDICTION] = np.empty(len(labels), dtype=object)
    golden[PREDICTION][:] = labels
    for name in table.column_names:
        if name.startswith(PROBABILITY):
            golden[name] = np.asarray(table[name].to_pylist(), dtype=np.float64)
    return golden


def _canonical(column: Any, kind: ColumnType) -> npt.NDArray[Any]:
    if kind == "timestamp":
        return np.asarray(column.cast("timestamp[us]").to_pylist(), dtype="datetime64[us]")
    if kind in ("category", "identifier"):
        texts = np.empty(len(column), dtype=object)
        texts[:] = column.to_pylist()
        return texts
    return np.asarray(column.to_pylist(), dtype=np.float64)


def _matrix(columns: Columns, names: Sequence[str], rows: int) -> npt.NDArray[np.float64]:
    matrix = np.empty((rows, len(names)))
    for position, name in enumerate(names):
        matrix[:, position] = columns[name]
    return matrix


def _other_classes(golden: Columns, found: Columns, tolerance: float) -> list[int]:
    """Return the rows whose class is another one now, and was not as probable then."""
    wrong = []
    pairs = zip(golden[PREDICTION].tolist(), found[PREDICTION].tolist(), strict=True)
    for row, (before, now) in enumerate(pairs):
        names = [f"{PROBABILITY}{before}", f"{PROBABILITY}{now}"]
        known = all(name in golden for name in names)
        tied = known and abs(golden[names[0]][row] - golden[names[1]][row]) <= 2 * tolerance
        if before != now and not tied:
            wrong.append(row)
    return wrong


def _judge(rows: int, differences: npt.NDArray[np.float64], tolerance: float) -> Replay:
    greatest = _greatest(differences)
    if greatest is None or not greatest <= tolerance:
        found = "cannot be measured" if greatest is None else f"differ by up to {greatest:.3g}"
        return _failed(rows, greatest, tolerance, f"the predictions {found}")
    return Replay(
        passed=True,
        rows=rows,
        difference=greatest,
        tolerance=tolerance,
        message=f"{rows} golden rows come out as at training, within {tolerance:g}",
    )


def _failed(rows: int, difference: float | None, tolerance: float, reason: str) -> Replay:
    message = f"The model does not give the answers that it gave at training: {reason} "
    message += f"(tolerance {tolerance:g})."
    return Replay(
        passed=False,
        rows=rows,
        difference=difference,
        tolerance=tolerance,
        message=message,
    )


def _greatest(differences: npt.NDArray[np.float64]) -> float | None:
    """Return the greatest difference; none at all counts as zero, a missing one as unknown."""
    if not differences.size:
        return 0.0
    greatest = float(differences.max())
    return greatest if np.isfinite(greatest) else None
