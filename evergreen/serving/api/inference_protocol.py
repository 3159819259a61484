"""The Open Inference Protocol v2 (KServe, Triton, MLServer): /v2/…

A request has one tensor per field, of shape [rows] or [rows, 1]; or, where all fields are
numbers, a single tensor of shape [rows, fields] under any name. Texts are BYTES. Binary input
tensors (Triton's extension) are taken; answers are JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

import evergreen
from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.api.tensors import Tensor, read_tensor
from evergreen.serving.arms import Arms
from evergreen.serving.parsing.formats import require_rows
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.tables import rows_in
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.api.plan import Plan
    from evergreen.serving.api.predictor import Predictor, Result
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.parsing.fields import Findings
    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.settings import ServingConfig

PREDICTION: Final = "prediction"
PROBABILITIES: Final = "probabilities"
UNVERSIONED: Final = "0"  # a bundle folder has no version in the registry
_TYPES: Final = {"category": "BYTES", "timestamp": "BYTES"}
_encode = msgspec.json.encode


def server_handler() -> Handler:
    """Return what describes the server."""

    async def server(call: Call) -> Reply:
        return Reply(
            _encode(
                {"name": "evergreen", "version": evergreen.__version__, "extensions": _EXTENSIONS}
            )
        )

    return server


_EXTENSIONS: Final = ("binary_tensor_data",)


def live_handler() -> Handler:
    """Return what says that the server lives."""

    async def live(call: Call) -> Reply:
        return Reply(b'{"live":true}')

    return live


def ready_handler(holder: ModelHolder, *, model: bool) -> Handler:
    """Return what says whether the server, or one model, is ready."""

    async def ready(call: Call) -> Reply:
        if model:
            return Reply(_encode({"name": _asked(call, holder).champion.name, "ready": True}))
        is_ready = holder.ready
        return Reply(_encode({"ready": is_ready}), 200 if is_ready else 503)

    return ready


def metadata_handler(holder: ModelHolder) -> Handler:
    """Return what describes a model's tensors."""

    async def metadata(call: Call) -> Reply:
        asked = _asked(call, holder)
        served = asked.champion
        return Reply(
            _encode(
                {
                    "name": served.name,
                    "versions": _versions(asked),
                    "platform": "onnx_onnxv1" if served.runtime.kind == "onnx" else "sklearn",
                    "inputs": [
                        {
                            "name": column.name,
                            "datatype": _TYPES.get(column.type, "FP64"),
                            "shape": [-1],
                        }
                        for column in served.contract.features
                    ],
                    "outputs": _output_types(served.contract),
                }
            )
        )

    return metadata


def infer_handler(predictor: Predictor) -> Handler:
    """Return what predicts."""
    count = predictor.metrics.rows.labels("/v2/infer").inc

    async def infer(call: Call) -> Reply:
        arms = _asked(call, predictor.holder)
        plan = predictor.plan(predictor.holder.current)
        request, binary = _request(call)
        wanted = _wanted(request, plan)

        def read() -> tuple[Inputs, Findings]:
            return _read(request, binary, plan, predictor.settings)

        result = await predictor.many(call, arms, plan, read, len(call.body))
        await predictor.record_all(call, result)
        count(rows_in(result.inputs))
        answer = _answer(call, request, result, wanted, plan)
        return Reply(_encode(answer), headers=result.served.headers)

    return infer


def _asked(call: Call, holder: ModelHolder) -> Arms:
    """Return the arms of the model that a path names; where it names a version, that one alone.

    Raises
    ------
    Problem
        If no answer comes from it.
    """
    arms = holder.arms
    served = arms.champion
    path = call.scope.get("path_params", {})
    name, version = path.get("name", served.name), path.get("version")
    if name != served.name:
        raise Problem("not-found", f"There is no model {name[:100]!r}; it is {served.name!r}.")
    if version is None or version == (served.version or UNVERSIONED):
        return arms if version is None else Arms(served)
    alone = arms.named(version)
    if alone is None:
        present = " and ".join(_versions(arms))
        raise Problem("not-found", f"Version {version[:100]!r} is not served; {present} is.")
    return alone


def _versions(arms: Arms) -> list[str]:
    """Return the numbers of the versions that answer."""
    found = [arms.champion.version or UNVERSIONED]
    if arms.challenger is not None and not arms.shadowing:
        found.append(str(arms.challenger.version))
    return found


def _request(call: Call) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a request, and the binary part behind it."""
    length = call.headers.get(b"inference-header-content-length")
    body, binary = call.body, b""
    if length is not None:
        if not length.isdigit() or len(length) > 18 or int(length) > len(body):
            raise Problem("malformed-body", "Inference-Header-Content-Length does not fit.")
        body, binary = body[: int(length)], body[int(length) :]
    elif call.content_type or b"origin" in call.headers:  # Triton's client sends no content type
        call.require_json()
    request = read_json(body)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise Problem("invalid-input", "The body must be an object with a list of inputs.")
    number = request.get("id", "")
    if not isinstance(number, str) or len(number) > 256:
        raise Problem("invalid-input", "id must be text of at most 256 characters.")
    return request, binary


def _wanted(request: dict[str, Any], plan: Plan) -> list[str]:
    """Return the names of the outputs that are asked for."""
    known = [output["name"] for output in _output_types(plan.contract)]
    asked = request.get("outputs")
    if asked is None:
        return known
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Problem("invalid-input", "outputs must be a list of objects.")
    names = [one.get("name") for one in asked]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Problem(
            "invalid-input",
            f"There is no output {str(unknown[0])[:100]!r}; there is {', '.join(known)}.",
        )
    return names or known


def _read(
    request: dict[str, Any], binary: bytes, plan: Plan, settings: ServingConfig
) -> tuple[Inputs, Findings]:
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(binary):
            raise Problem("malformed-body", "The binary part is shorter than the inputs say.")
        at += size
        return binary[at - size : at]

    tensors = [read_tensor(given, number, take) for number, given in enumerate(request["inputs"])]
    if at != len(binary):
        raise Problem("malformed-body", "The binary part is longer than the inputs say.")
    if len(tensors) == 1 and _is_matrix(tensors[0], plan):
        return _read_matrix(tensors[0], plan, settings)
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            raise Problem(
                "invalid-input",
                f"{tensor.name[:100]}: a field has the shape [rows] or [rows, 1], not "
                f"{list(tensor.shape)}.",
            )
        if tensor.name in columns:
            raise Problem("invalid-input", f"The input {tensor.name[:100]!r} stands twice.")
        columns[tensor.name] = tensor.values
    if len({len(values) for values in columns.values()}) > 1:
        raise Problem("invalid-input", "All inputs must have the same number of rows.")
    require_rows(max(map(len, columns.values()), default=0), settings.batch_rows)
    return plan.table.json_columns(columns)


def _is_matrix(tensor: Tensor, plan: Plan) -> bool:
    alone = tensor.name in plan.names and len(plan.names) == 1
    return len(tensor.shape) == 2 and not alone


def _read_matrix(tensor: Tensor, plan: Plan, settings: ServingConfig) -> tuple[Inputs, Findings]:
    rows, width = tensor.shape
    require_rows(rows, settings.batch_rows)
    if width != len(plan.names):
        raise Problem(
            "invalid-input", f"The input has {width} columns; the model takes {len(plan.names)}."
        )
    values = tensor.values
    return plan.table.lists([values[row * width : (row + 1) * width] for row in range(rows)])


def _output_types(contract: Contract) -> list[dict[str, Any]]:
    labels = contract.labels
    outputs = [{"name": PREDICTION, "datatype": _label_type(contract), "shape": [-1]}]
    if labels is not None:
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(labels)]})
    return outputs


def _label_type(contract: Contract) -> str:
    kinds = {type(label) for label in contract.labels or ()}
    if contract.labels is None:
        return "FP64"
    return "BOOL" if kinds == {bool} else "INT64" if kinds == {int} else "BYTES"


def _answer(
    call: Call, request: dict[str, Any], result: Result, wanted: list[str], plan: Plan
) -> dict[str, Any]:
    outputs = result.outputs
    rows = len(outputs.predictions)
    tensors: list[dict[str, Any]] = []
    for declared in _output_types(plan.contract):
        if declared["name"] not in wanted:
            continue
        if declared["name"] == PREDICTION:
            data = outputs.predictions.tolist()
            if declared["datatype"] == "BYTES":
                data = [str(label) for label in data]
            tensors.append({**declared, "shape": [rows], "data": data})
        elif outputs.probabilities is not None:
            shares = outputs.probabilities
            tensors.append(
                {**declared, "shape": list(shares.shape), "data": shares.ravel().tolist()}
            )
    flags = {str(row): names for row, names in result.findings.flags.items()}
    return {
        "model_name": result.served.name,
        "model_version": result.served.version or UNVERSIONED,
        "id": request.get("id") or call.request_id,
        "parameters": {"request_id": call.request_id, **({"flags": flags} if flags else {})},
        "outputs": tensors,
    }
