"""MLflow's scoring protocol: /invocations, /ping and /version, for clients that speak it.

The formats are those of ``mlflow.pyfunc.scoring_server``; a contract's strictness is ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.parsing.formats import read_csv, read_parquet, require_rows
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.readers import kind
from evergreen.serving.parsing.tables import TableReader, rows_in
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.serving.api.plan import Plan
    from evergreen.serving.api.predictor import Predictor
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.parsing.fields import Findings
    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.settings import ServingConfig

FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_encode = msgspec.json.encode
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


def invocations_handler(predictor: Predictor) -> Handler:
    """Return what answers /invocations as MLflow's scoring server does."""
    count = predictor.metrics.rows.labels("/invocations").inc

    async def invocations(call: Call) -> Reply:
        read = _reader(call)
        arms = predictor.holder.arms
        plan = predictor.plan(arms.champion)
        body = call.body
        result = await predictor.many(
            call, arms, plan, lambda: read(body, plan, predictor.settings), len(body)
        )
        await predictor.record_all(call, result)
        count(rows_in(result.inputs))
        answer = {"predictions": result.outputs.predictions.tolist()}
        return Reply(_encode(answer), headers=result.served.headers)

    return invocations


def ping_handler(holder: ModelHolder) -> Handler:
    """Return what says 200 where a model is loaded, as MLflow's /ping does."""

    async def ping(call: Call) -> Reply:
        return Reply(b"\n", 200 if holder.ready else 404)

    return ping


def version_handler(holder: ModelHolder) -> Handler:
    """Return what tells the version of MLflow that the model was saved with."""

    async def version(call: Call) -> Reply:
        versions = holder.current.runtime.manifest.environment.versions
        return Reply(versions.get("mlflow", "").encode(), media_type=b"text/plain")

    return version


def _reader(call: Call) -> Callable[[bytes, Plan, ServingConfig], tuple[Inputs, Findings]]:
    raw = call.headers.get(b"content-type", b"").decode("latin-1")
    charset = _CHARSET.search(raw)
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8"}:
        raise Problem("unsupported-media-type", f"Send UTF-8; this is {charset[1][:50]}.")
    read = _READERS.get(call.content_type)
    if read is None:
        raise Problem(
            "unsupported-media-type",
            f"Send {', '.join(_READERS)}; this is {raw[:100] or 'without a content type'}.",
        )
    return read


def _csv(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    return read_csv(body, plan.table, settings.batch_rows)


def _parquet(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    return read_parquet(body, plan.table, settings.batch_rows, 4 * settings.batch_limit)


def _json(body: bytes, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    content = read_json(body, nan_is_null=True)
    written = [name for name in FORMATS if isinstance(content, dict) and name in content]
    if len(written) != 1:
        raise Problem(
            "invalid-input",
            f"The body must be an object with exactly one of {', '.join(FORMATS)}.",
        )
    name, data = written[0], content[written[0]]
    if name == "dataframe_split":
        return _split(data, plan.table, settings)
    if name == "dataframe_records":
        return _rows(data, plan.table, settings, name)
    if isinstance(data, dict):
        return _columns(data, plan.table, settings, name)
    return _rows(data, plan.table, settings, name)


def _split(data: Any, table: TableReader, settings: ServingConfig) -> tuple[Inputs, Findings]:
    if not isinstance(data, dict) or "data" not in data or data.keys() - _SPLIT:
        raise Problem(
            "invalid-input", "dataframe_split must be an object with columns, data and index."
        )
    rows = data["data"]
    columns = data.get("columns")
    if not isinstance(rows, list):
        raise Problem("invalid-input", f"dataframe_split.data must be a list, is {kind(rows)}.")
    require_rows(len(rows), settings.batch_rows)
    index = data.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise Problem("invalid-input", "dataframe_split.index must have one entry per row.")
    if columns is None:
        return table.lists(rows)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise Problem("invalid-input", "dataframe_split.columns must be a list of names.")
    if len(set(columns)) != len(columns):
        raise Problem("invalid-input", "dataframe_split.columns has a name twice.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Problem(
                "invalid-input",
                f"Row {number} of dataframe_split.data must be a list of {len(columns)} values.",
            )
    turned = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return table.json_columns(
        {name: list(values) for name, values in zip(columns, turned, strict=True)}
    )


def _rows(
    data: Any, table: TableReader, settings: ServingConfig, name: str
) -> tuple[Inputs, Findings]:
    if not isinstance(data, list):
        raise Problem("invalid-input", f"{name} must be a list of rows, but is {kind(data)}.")
    require_rows(len(data), settings.batch_rows)
    if data and isinstance(data[0], list) and name != "dataframe_records":
        return table.lists(data)
    return table.records(data)


def _columns(
    data: dict[str, Any], table: TableReader, settings: ServingConfig, name: str
) -> tuple[Inputs, Findings]:
    if not any(isinstance(values, list) for values in data.values()):
        return table.records([data])
    lengths = {len(values) if isinstance(values, list) else -1 for values in data.values()}
    if len(lengths) != 1:
        raise Problem("invalid-input", f"The columns of {name} must be lists of one length.")
    require_rows(max(lengths), settings.batch_rows)
    return table.json_columns(data)


_SPLIT: Final = frozenset({"columns", "data", "index"})
_READERS: Final[dict[str, Callable[[bytes, Plan, ServingConfig], tuple[Inputs, Findings]]]] = {
    "application/json": _json,
    "text/csv": _csv,
    "application/vnd.apache.parquet": _parquet,
}
