"""Asking servers for predictions, each by its own protocol, and how they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt

from evergreen.data.contract import Contract
from evergreen.errors import RefusedError, UnreachableError
from evergreen.promotion.golden import PREDICTION, PROBABILITY, read_golden
from evergreen.serving.holder import VERSION_HEADER
from evergreen.serving.log_tables import SMOKE_TEST

Columns = Mapping[str, npt.NDArray[Any]]

UNVERSIONED: Final = "0"  # of the Open Inference Protocol: a bundle that is in no registry
PATIENCE: Final = 60.0  # seconds for an answer: a server's first one loads the model


@dataclass(frozen=True)
class GoldenRows:
    """Golden rows as servers take them, with the answers given at training."""

    contract: Contract
    columns: Columns

    @classmethod
    def read(cls, folder: Path, contract: Contract) -> GoldenRows:
        """Read those of a bundle; raise `InputError` where they cannot be read."""
        return cls(contract, read_golden(folder / "golden.parquet", contract))

    @property
    def names(self) -> list[str]:
        """The names of the model's inputs, in order."""
        return [column.name for column in self.contract.features]

    @property
    def rows(self) -> list[list[Any]]:
        """The inputs as JSON has them, with every digit; what is missing is null."""
        columns = [[_plain(value) for value in self.columns[name]] for name in self.names]
        return [list(row) for row in zip(*columns, strict=True)]

    def typed(self) -> list[dict[str, Any]]:
        """The inputs as the contract's types: truth values and whole numbers where it says so."""
        kinds = [column.type for column in self.contract.features]
        return [
            {
                name: _typed(value, kind)
                for name, value, kind in zip(self.names, row, kinds, strict=True)
            }
            for row in self.rows
        ]


@dataclass(frozen=True)
class Health:
    """What a contract API says of itself."""

    model: str | None
    version: str | None
    status: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """Answers to golden rows: columns as golden rows have them, and the version that gave them."""

    columns: Columns
    version: str | None


class KeyRefusedError(RefusedError):
    """An API asks for a key that was not given, or not for this."""


def api_health(url: str) -> Health | None:
    """Return what the contract API at an address says of itself, or None where there is none."""
    try:
        return read_health(httpx.get(f"{url}/health", timeout=5).json())
    except (httpx.HTTPError, ValueError):
        return None


def read_health(content: Any) -> Health | None:
    """Return what an answer of ``/health`` says, or None where it is none of a contract API."""
    try:
        return Health(
            content["model"],
            content["model_version"],
            content["status"],
            tuple(content["problems"]),
        )
    except (KeyError, TypeError):
        return None


def swap_failure(url: str, headers: Mapping[str, str] | None = None) -> str | None:
    """Return why a contract API does not serve the version that it should, where it says so."""
    try:
        told = httpx.get(f"{url}/model/info", headers=headers, timeout=5).json()
        failure = told["swap_failure"]
        return None if failure is None else str(failure["reason"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def mlflow_answers(url: str) -> bool:
    """Tell whether MLflow's scoring server at an address has loaded its model."""
    try:
        return httpx.get(f"{url}/ping", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def ask_api(url: str, golden: GoldenRows, headers: Mapping[str, str] | None = None) -> Answers:
    """Ask a contract API for all golden rows.

    Raises
    ------
    UnreachableError
        If it does not answer.
    RefusedError
        If it refuses a row, or its answer is not to be understood.
    """
    response = _post(f"{url}/predict/batch", golden.typed(), headers or {})
    answered = _read(response, "predictions", len(golden.rows))
    labels = golden.contract.labels or ()
    columns = {PREDICTION: _predictions([row["prediction"] for row in answered], golden.contract)}
    if labels and all(row.get("probabilities") for row in answered):
        for label in labels:
            shares = [row["probabilities"][str(label)] for row in answered]
            columns[f"{PROBABILITY}{label}"] = np.asarray(shares, dtype=np.float64)
    return Answers(columns, response.headers.get(VERSION_HEADER.decode()) or None)


def ask_mlflow(url: str, golden: GoldenRows) -> Answers:
    """Ask MLflow's scoring server for all golden rows. Raises as `ask_api` does."""
    body = {"dataframe_split": {"columns": golden.names, "data": golden.rows}}
    answered = _read(_post(f"{url}/invocations", body, {}), "predictions", len(golden.rows))
    return Answers({PREDICTION: _predictions(answered, golden.contract)}, None)


def ask_open_inference(url: str, model: str, golden: GoldenRows) -> Answers:
    """Ask a server of the Open Inference Protocol, by one tensor per field. Raises as `ask_api`."""
    columns = zip(*golden.rows, strict=True)
    tensors = [
        _tensor(column.name, column.type, values)
        for column, values in zip(golden.contract.features, columns, strict=True)
    ]
    response = _post(f"{url}/v2/models/{model}/infer", {"inputs": tensors}, {})
    try:
        answered = response.json()
        outputs = {tensor["name"]: tensor["data"] for tensor in answered["outputs"]}
        labels = golden.contract.labels or ()
        known = {str(label): label for label in labels}
        predicted = [known.get(str(one), one) for one in outputs["prediction"]]
        columns_found = {PREDICTION: _predictions(predicted, golden.contract)}
        if labels and "probabilities" in outputs:
            shares = np.asarray(outputs["probabilities"], np.float64).reshape(-1, len(labels))
            for label, column in zip(labels, shares.T, strict=True):
                columns_found[f"{PROBABILITY}{label}"] = column
        named = answered.get("model_version")
        version = None if named == UNVERSIONED else named
    except (ValueError, KeyError, TypeError) as error:
        raise _odd_answer(response, len(golden.rows)) from error
    if any(len(values) != len(golden.rows) for values in columns_found.values()):
        raise _odd_answer(response, len(golden.rows))
    return Answers(columns_found, version)


def ask_seldon(url: str, golden: GoldenRows) -> Answers:
    """Ask a server of Seldon's protocol for all golden rows. Raises as `ask_api` does."""
    response = _post(f"{url}/api/v1.0/predictions", {"jsonData": golden.typed()}, {})
    try:
        answered = response.json()
        rows, labels = answered["jsonData"]["predictions"], golden.contract.labels or ()
        predicted = [row["prediction"] for row in rows]
        found = {PREDICTION: _predictions(predicted, golden.contract)}
        for label in labels:
            shares = [row["probabilities"][str(label)] for row in rows]
            found[f"{PROBABILITY}{label}"] = np.asarray(shares, dtype=np.float64)
        version = answered["meta"]["tags"]["model_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _odd_answer(response, len(golden.rows)) from error
    if len(predicted) != len(golden.rows):
        raise _odd_answer(response, len(golden.rows))
    return Answers(found, version)


def _tensor(name: str, kind: str, values: Sequence[Any]) -> dict[str, Any]:
    text = kind in ("category", "timestamp")
    data = list(values) if text else [None if one is None else float(one) for one in values]
    return {
        "name": name,
        "datatype": "BYTES" if text else "FP64",
        "shape": [len(data)],
        "data": data,
    }


def last_words(log: str | None) -> str:
    """Return the last words of a server's log, and where the log is."""
    try:
        text = Path(log).read_text(encoding="utf-8", errors="replace") if log else ""
    except OSError:
        text = ""
    return f"{last_lines(text)} ({log})"


def last_lines(text: str) -> str:
    """Return the end of what a server wrote: three lines, as a message may be wrapped."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(said[-3:])[-400:] or "none"


def _post(url: str, body: Any, headers: Mapping[str, str]) -> httpx.Response:
    own = {"x-request-id": SMOKE_TEST, **headers}
    try:
        response = httpx.post(url, json=body, headers=own, timeout=PATIENCE)
    except httpx.HTTPError as error:
        raise UnreachableError(f"{url} does not answer: {error or type(error).__name__}") from error
    if response.status_code != 200:
        refused = KeyRefusedError if response.status_code in (401, 403) else RefusedError
        raise refused(
            f"{url} refuses the golden rows (status {response.status_code}): "
            f"{response.text.strip()[:500]}"
        )
    return response


def _read(response: httpx.Response, key: str, rows: int) -> list[Any]:
    try:
        answered = response.json()[key]
    except (ValueError, KeyError, TypeError):
        answered = None
    if not isinstance(answered, list) or len(answered) != rows:
        raise _odd_answer(response, rows)
    return answered


def _odd_answer(response: httpx.Response, rows: int) -> RefusedError:
    return RefusedError(
        f"{response.request.url} answers {rows} golden rows with something else than "
        f"{rows} predictions: {response.text.strip()[:200]}"
    )


def _predictions(values: Sequence[Any], contract: Contract) -> npt.NDArray[Any]:
    if contract.task == "regression":
        return np.asarray(values, dtype=np.float64)
    labels = np.empty(len(values), dtype=object)
    labels[:] = values
    return labels


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        moment = value.astype("datetime64[us]").item()
        return moment.isoformat() if isinstance(moment, datetime) else None
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value


def _typed(value: Any, kind: str) -> Any:
    if value is None or kind not in ("boolean", "integer"):
        return value
    return bool(value) if kind == "boolean" else int(value)
