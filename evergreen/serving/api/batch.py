"""POST /predict/batch: many rows as JSON, CSV or Parquet, answered in parts.

All rows are read, judged and predicted before the first byte of the answer, so that it is either
a whole answer or a problem. What is sent has been logged before.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.api.plan import FEATURES, Plan
from evergreen.serving.api.predictor import Predictor, Result
from evergreen.serving.parsing.fields import Findings
from evergreen.serving.parsing.formats import read_csv, read_parquet, require_rows
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.rows import Inputs
from evergreen.serving.parsing.tables import rows_in
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.serving.settings import ServingConfig

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"
_ALIASES: Final = {
    "application/csv": CSV,
    "application/parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "application/jsonl": NDJSON,
}
PART: Final = 2000  # rows of one part of the answer
_encode = msgspec.json.Encoder().encode


def batch_handler(predictor: Predictor) -> Handler:
    """Return what answers requests for many rows."""
    count = predictor.metrics.rows.labels("/predict/batch").inc

    async def predict_batch(call: Call) -> Reply:
        sent = _media_type(call.content_type)
        read = _READERS.get(sent)
        if read is None:
            raise Problem(
                "unsupported-media-type",
                f"Send {', '.join(_READERS)}; this is {sent[:100] or 'without a content type'}.",
            )
        write = _WRITERS[wanted(call, sent)]
        arms = predictor.holder.arms
        plan = predictor.plan(arms.champion)
        body = call.body
        result = await predictor.many(
            call, arms, plan, lambda: read(body, plan, predictor.settings), len(body)
        )
        rows = rows_in(result.inputs)
        parts = _logged_parts(predictor, call, result, lambda a, b: write(call, plan, result, a, b))
        first = await anext(parts)  # may still end in a problem
        count(rows)
        return Reply(
            media_type=wanted(call, sent).encode(),
            headers=[
                (b"x-evergreen-request-id", call.request_id.encode()),
                *result.served.headers,
            ],
            chunks=_chain(first, parts),
        )

    return predict_batch


async def _logged_parts(
    predictor: Predictor, call: Call, result: Result, write: Callable[[int, int], bytes]
) -> AsyncIterator[bytes]:
    rows = rows_in(result.inputs)
    for start in range(0, max(rows, 1), PART):
        stop = min(start + PART, rows)
        if stop > start:
            await predictor.in_thread(predictor.record_part, call, result, start, stop)
            if predictor.log.durable:
                await predictor.log.safe()
        yield await predictor.in_thread(write, start, stop)
    predictor.recorded(call, result)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


def wanted(call: Call, sent: str) -> str:
    """Return the media type of the answer: what Accept names first, else the request's own."""
    accepted = call.headers.get(b"accept", b"*/*").decode("latin-1").lower()
    for choice in accepted.split(","):
        media_type = _media_type(choice.split(";", 1)[0].strip())
        if media_type in _WRITERS:
            return media_type
    return sent


def _media_type(name: str) -> str:
    return _ALIASES.get(name, name)


# --- reading -----------------------------------------------------------------------------------


def _read_json(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    values = plan.fast.read_many(body)
    if values is not None:
        require_rows(len(values), settings.batch_rows)
        numbers = plan.fast.columns(values)
        return plan.table.lists(values) if numbers is None else (numbers, Findings())
    content = read_json(body)
    if plan.is_list_form(content):
        content = content[FEATURES]
        if not isinstance(content, list):
            raise Problem("invalid-input", f"{FEATURES} must be a list of rows.")
        require_rows(len(content), settings.batch_rows)
        return plan.table.lists(content)
    return _records(content, plan, settings)


def _read_ndjson(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    require_rows(len(lines), settings.batch_rows)
    return _records([read_json(line) for line in lines], plan, settings)


def _records(content: Any, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    if not isinstance(content, list):
        raise Problem(
            "invalid-input",
            "The body must be a list of rows, each an object from fields to values, or "
            '{"features": [[…], …]}.',
        )
    require_rows(len(content), settings.batch_rows)
    return plan.table.records(content)


def _read_csv(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    return read_csv(body, plan.table, settings.batch_rows)


def _read_parquet(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    unpacked = 4 * settings.batch_limit
    return read_parquet(body, plan.table, settings.batch_rows, unpacked)


_READERS: Final[dict[str, Callable[[bytes, Plan, ServingConfig], tuple[Inputs, Findings]]]] = {
    JSON: _read_json,
    NDJSON: _read_ndjson,
    CSV: _read_csv,
    PARQUET: _read_parquet,
}


# --- writing -----------------------------------------------------------------------------------


def _write_json(call: Call, plan: Plan, result: Result, start: int, stop: int) -> bytes:
    rows = rows_in(result.inputs)
    answers = plan.rows(result.outputs.part(start, stop), start, result.findings.flags)
    listed = _encode(answers)[1:-1]
    if start == 0:
        head = {
            "model": result.served.name,
            "model_version": result.served.version,
            "request_id": call.request_id,
            "rows": rows,
        }
        listed = _encode(head)[:-1] + b',"predictions":[' + listed
    else:
        listed = b"," + listed
    return listed + b"]}" if stop == rows else listed


def _write_ndjson(call: Call, plan: Plan, result: Result, start: int, stop: int) -> bytes:
    answers = plan.rows(result.outputs.part(start, stop), start, result.findings.flags)
    return b"".join(_encode(answer) + b"\n" for answer in answers)


def _write_csv(call: Call, plan: Plan, result: Result, start: int, stop: int) -> bytes:
    columns = _columns(plan, result, start, stop)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if start == 0:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _write_parquet(call: Call, plan: Plan, result: Result, start: int, stop: int) -> bytes:
    """Return the whole file with the first part: its directory stands at the end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if start:
        return b""
    sink = io.BytesIO()
    pq.write_table(pa.table(_columns(plan, result, 0, rows_in(result.inputs))), sink)
    return sink.getvalue()


def _columns(plan: Plan, result: Result, start: int, stop: int) -> dict[str, list[Any]]:
    part = result.outputs.part(start, stop)
    flags = result.findings.flags
    columns: dict[str, list[Any]] = {
        "row": list(range(start, stop)),
        "prediction": part.predictions.tolist(),
    }
    if part.probabilities is not None:
        for position, label in enumerate(plan.labels):
            columns[f"probability.{label}"] = part.probabilities[:, position].tolist()
    if part.intervals is not None:
        columns["low"], columns["high"] = part.intervals.T.tolist()
    columns["flags"] = [" ".join(flags.get(row, ())) for row in range(start, stop)]
    return columns


_WRITERS: Final[dict[str, Callable[[Call, Plan, Result, int, int], bytes]]] = {
    JSON: _write_json,
    NDJSON: _write_ndjson,
    CSV: _write_csv,
    PARQUET: _write_parquet,
}
