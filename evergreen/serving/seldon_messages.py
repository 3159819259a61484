"""Seldon's messages (SeldonMessage of seldon-core 1), read and answered by a contract.

A message is what its JSON form holds: objects, lists, text, numbers. Nothing here imports
seldon-core; `deploy/seldon` puts this behind its REST and gRPC servers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from evergreen.serving.parsing.formats import require_rows
from evergreen.serving.parsing.readers import kind
from evergreen.serving.parsing.tables import rows_in
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.serving.api.plan import Plan
    from evergreen.serving.parsing.fields import Findings
    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.settings import ServingConfig

Form = Literal["data", "jsonData"]
REQUEST_ID: Final = "request_id"  # the tag that feedback names a prediction by
PAYLOADS: Final = ("data", "jsonData", "strData", "binData", "customData")
ARRAYS: Final = ("ndarray", "tensor", "tftensor")
_EXPECTED: Final = "Send data with an ndarray or a tensor, or jsonData."


def read_rows(message: Any, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings, Form]:
    """Read the rows of a message, and the form in which its sender expects the answer.

    ``data`` has rows of values: by ``names`` where they are given, else in contract order.
    ``jsonData`` has what ``/predict/batch`` takes, or one row alone.

    Raises
    ------
    Problem
        If it is no such message, or breaks the contract.
    """
    form = _one_of(message, PAYLOADS, "The message")
    if form == "data":
        inputs, findings = _read_arrays(message["data"], plan, settings)
    elif form == "jsonData":
        inputs, findings = _read_json(message["jsonData"], plan, settings)
    else:
        raise Problem("invalid-input", f"{form} is not understood here. {_EXPECTED}")
    if not rows_in(inputs):
        raise Problem("invalid-input", "There are no rows to predict.")
    return inputs, findings, form


def read_labels(feedback: Any) -> list[dict[str, Any]]:
    """Read Seldon's feedback as the API's: one entry per true label.

    ``response`` is the prediction's answer, whose tag ``request_id`` names it; ``truth`` has one
    label per row, in the same order.

    Raises
    ------
    Problem
        If there is no such tag, or no label.
    """
    _require_object(feedback, "The feedback")
    response = feedback.get("response") or {}
    meta = (response.get("meta") if isinstance(response, dict) else None) or {}
    tags = (meta.get("tags") if isinstance(meta, dict) else None) or {}
    number = tags.get(REQUEST_ID) if isinstance(tags, dict) else None
    if number is None:
        raise Problem(
            "invalid-input",
            f"The feedback's response must be the prediction's answer: its tag {REQUEST_ID!r} "
            "says which prediction the label belongs to, and there is none.",
        )
    labels = _labels(feedback.get("truth"))
    return [{"request_id": number, "row": row, "label": label} for row, label in enumerate(labels)]


def client_id(message: Any) -> str | None:
    """Return the id (``meta.puid``) that the sender gave a message.

    Raises
    ------
    Problem
        If ``meta`` or what is handed on from it is no object, or the id no text.
    """
    meta = message.get("meta") if isinstance(message, dict) else None
    if meta is None:
        return None
    _require_object(meta, "meta")
    for name in ("tags", "requestPath"):
        if meta.get(name) is not None:
            _require_object(meta[name], f"meta.{name}")
    puid = meta.get("puid")
    if puid is not None and not isinstance(puid, str):
        raise Problem("invalid-input", f"meta.puid must be text, but is {kind(puid)}.")
    return puid


def _read_arrays(data: Any, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    rows = _rows(data)
    require_rows(len(rows), settings.batch_rows)
    names = data.get("names") or []
    if not names:
        return plan.table.lists(rows)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem("invalid-input", "data.names must be a list of texts.")
    if len(set(names)) != len(names):
        raise Problem("invalid-input", "data.names has a name twice.")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise Problem(
                "invalid-input",
                f"Row {number} has {len(row)} values, and data.names {len(names)} names.",
            )
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return plan.table.json_columns(
        {name: list(values) for name, values in zip(names, columns, strict=True)}
    )


def _rows(data: Any) -> list[Any]:
    """Return the rows of an ndarray or a tensor, each a list."""
    form = _one_of(data, ARRAYS, "data")
    if form == "tensor":
        return _tensor_rows(data["tensor"])
    if form != "ndarray":
        raise Problem("invalid-input", f"{form} is not understood here. {_EXPECTED}")
    rows = data["ndarray"]
    if not isinstance(rows, list):
        raise Problem("invalid-input", f"data.ndarray must be a list of rows, is {kind(rows)}.")
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise Problem(
                "invalid-input",
                f"data.ndarray must be a list of rows, each a list; row {number} is {kind(row)}.",
            )
    return rows


def _tensor_rows(tensor: Any) -> list[list[Any]]:
    _require_object(tensor, "data.tensor")
    shape, values = tensor.get("shape"), tensor.get("values")
    sound = isinstance(shape, list) and len(shape) == 2
    if not sound or not all(type(size) is int and size >= 0 for size in shape):
        raise Problem("invalid-input", "data.tensor.shape must be [rows, columns].")
    if not isinstance(values, list):
        raise Problem("invalid-input", "data.tensor.values must be a list of numbers.")
    height, width = shape
    if height * width != len(values):
        raise Problem(
            "invalid-input", f"data.tensor has {len(values)} values, its shape {shape} others."
        )
    values = [None if type(one) is float and math.isnan(one) else one for one in values]
    return [values[row * width : (row + 1) * width] for row in range(height)]


def _read_json(content: Any, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    if plan.is_list_form(content):
        content = content["features"]
        if isinstance(content, list) and not any(isinstance(row, list) for row in content):
            content = [content]
    elif isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Problem(
            "invalid-input", f"jsonData must be a row or a list of rows, but is {kind(content)}."
        )
    require_rows(len(content), settings.batch_rows)
    if content and isinstance(content[0], list):
        return plan.table.lists(content)
    return plan.table.records(content)


def _labels(truth: Any) -> Sequence[Any]:
    """Return the labels in a message, one per row."""
    form = _one_of(truth, PAYLOADS, "The feedback's truth")
    found = truth[form]
    if form == "data":
        array = _one_of(found, ARRAYS, "truth.data")
        if array == "tensor":
            found = found["tensor"].get("values") if isinstance(found["tensor"], dict) else None
        else:
            found = found[array]
        if not isinstance(found, list):
            raise Problem("invalid-input", "truth.data must hold a list of labels.")
    labels = found if isinstance(found, list) else [found]
    labels = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in labels]
    if not labels:
        raise Problem("invalid-input", "The feedback's truth holds no label.")
    return labels


def _one_of(holder: Any, names: Sequence[str], where: str) -> Any:
    """Return the one of ``names`` that an object has."""
    _require_object(holder, where)
    found = [name for name in names if holder.get(name) is not None]
    if len(found) != 1:
        has = " and ".join(found) if found else "none"
        raise Problem(
            "invalid-input", f"{where} must hold one of {', '.join(names)}, and has {has}."
        )
    return found[0]


def _require_object(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        what = "missing" if value is None else kind(value)
        raise Problem("invalid-input", f"{where} must be an object, but is {what}.")
