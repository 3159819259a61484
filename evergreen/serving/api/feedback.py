"""POST /feedback: true labels, by the request id that a prediction was answered with."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evergreen.serving.api.answers import FeedbackReceipt
from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.readers import kind
from evergreen.serving.parsing.tables import invalid
from evergreen.serving.problems import FieldError, Problem
from evergreen.serving.records import FeedbackRecord

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.prediction_log import PredictionLog

MAX_LABELS: Final = 10_000
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FIELDS: Final = frozenset({"request_id", "row", "label"})


def feedback_handler(holder: ModelHolder, log: PredictionLog) -> Handler:
    """Return what takes one true label, or a list of them."""

    async def feedback(call: Call) -> Reply:
        call.require_json()
        contract = holder.current.contract
        records = read_feedback(read_json(call.body), contract, call.key_id)
        if records:
            log.record(records)
            await log.safe()
        return Reply(msgspec.json.encode(FeedbackReceipt(len(records))), 202)

    return feedback


def read_feedback(
    content: Any, contract: Contract, key_id: str | None = None
) -> list[FeedbackRecord]:
    """Return the true labels in a body: one object, or a list of them.

    Raises
    ------
    Problem
        If there are too many, or one is not of the contract's labels or names no prediction.
    """
    entries = content if isinstance(content, list) else [content]
    if len(entries) > MAX_LABELS:
        raise Problem("body-too-large", f"One request may have {MAX_LABELS} labels.")
    errors: list[FieldError] = []
    records = []
    for number, entry in enumerate(entries):
        row = number if isinstance(content, list) else None
        found = _errors(entry, contract, row)
        errors += found
        if not found:
            records.append(
                FeedbackRecord(
                    request_id=entry["request_id"],
                    row=int(entry.get("row", 0)),
                    label=_label(entry["label"], contract),
                    key_id=key_id,
                )
            )
    if errors:
        raise invalid(errors)
    return records


def _errors(entry: Any, contract: Contract, row: int | None) -> list[FieldError]:
    if not isinstance(entry, dict):
        return [FieldError("", f"must be an object, but is {kind(entry)}", None, row)]
    errors = [
        FieldError(name[:100], "is not a field of feedback", ", ".join(sorted(_FIELDS)), row)
        for name in entry
        if name not in _FIELDS
    ]
    number = entry.get("request_id")
    if not isinstance(number, str) or not _ID.fullmatch(number):
        errors.append(FieldError("request_id", "must be the request_id of a prediction", None, row))
    position = entry.get("row", 0)
    if type(position) not in {int, float} or not 0 <= position < 2**31 or position % 1:
        errors.append(FieldError("row", "must be a whole number from 0", None, row))
    if "label" not in entry or _label(entry["label"], contract) is None:
        shown = "is missing" if "label" not in entry else f"is {kind(entry['label'])}"
        errors.append(FieldError("label", shown, _allowed(contract), row))
    return errors


def _label(value: Any, contract: Contract) -> Any:
    """Return the label in its own type, None where it is none of the contract's."""
    if contract.labels is None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    for label in contract.labels:
        same_type = isinstance(value, bool) == isinstance(label, bool)
        if same_type and (value == label or value == str(label)):
            return label
    return None


def _allowed(contract: Contract) -> str:
    if contract.labels is None:
        return "a number"
    return "one of " + ", ".join(repr(label) for label in contract.labels[:20])
