"""The table of all endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evergreen.serving.api import (
    feedback,
    health,
    inference_protocol,
    info,
    mlflow_protocol,
)
from evergreen.serving.api.batch import batch_handler
from evergreen.serving.api.explain import explain_handler
from evergreen.serving.api.metrics import CONTENT_TYPE, Metrics
from evergreen.serving.api.openapi import ref
from evergreen.serving.api.operation import (
    Call,
    Documented,
    Gateway,
    Handler,
    Operation,
    Reply,
)
from evergreen.serving.api.predict import predict_handlers
from evergreen.serving.api.predictor import Predictor

if TYPE_CHECKING:
    from evergreen.serving.settings import ServingConfig

JSON: Final = "application/json"
MODEL: Final = "/v2/models/{name}"


def operations(gateway: Gateway, predictor: Predictor, settings: ServingConfig) -> list[Operation]:
    """Return every endpoint."""
    return [
        *_predictions(gateway, predictor, settings),
        *_model(gateway, predictor, settings),
        *_health(gateway, predictor),
        *_mlflow(gateway, predictor, settings),
        *_inference(gateway, predictor, settings),
    ]


def _predictions(
    gateway: Gateway, predictor: Predictor, settings: ServingConfig
) -> list[Operation]:
    one = _json({"oneOf": [ref("Row"), ref("Features")]})
    predict, predict_at_once = predict_handlers(predictor)
    many = {
        JSON: {"schema": ref("Rows")},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "text/csv": {"schema": {"type": "string"}},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
    }
    answers = {**many, JSON: {"schema": ref("Answers")}}
    return [
        Operation(
            gateway,
            "POST",
            "/predict",
            predict,
            Documented(
                "Predict one row",
                'Send the fields of a row, or {"features": […]} with the values in contract order.',
                request=one,
                response=_json(ref("Answer")),
            ),
            limit=settings.body_limit,
            at_once=predict_at_once,
        ),
        Operation(
            gateway,
            "POST",
            "/predict/batch",
            batch_handler(predictor),
            Documented(
                "Predict many rows",
                f"Up to {settings.batch_rows} rows and {settings.batch_limit} bytes, as JSON, "
                "NDJSON, CSV or Parquet; the answer comes in the same format, or as Accept says. "
                "All rows are answered, or none.",
                request=many,
                response=answers,
            ),
            limit=settings.batch_limit,
        ),
        Operation(
            gateway,
            "POST",
            "/explain",
            explain_handler(predictor),
            Documented(
                "Explain one prediction",
                "SHAP values per field, the greatest first. The first call takes a few seconds.",
                request=one,
                response=_json(ref("Explanation")),
            ),
            limit=settings.body_limit,
        ),
        Operation(
            gateway,
            "POST",
            "/feedback",
            feedback.feedback_handler(predictor.holder, predictor.log),
            Documented(
                "Send true labels",
                "By the request_id that a prediction was answered with; one, or a list of them.",
                request=_json(
                    {
                        "oneOf": [
                            ref("Feedback"),
                            {"type": "array", "items": ref("Feedback"), "maxItems": 10_000},
                        ]
                    }
                ),
                response=_json(ref("FeedbackReceipt")),
                status="202",
            ),
            limit=settings.body_limit,
        ),
    ]


def _model(gateway: Gateway, predictor: Predictor, settings: ServingConfig) -> list[Operation]:
    holder = predictor.holder
    return [
        _get(
            gateway,
            "/contract",
            info.contract_handler(holder, settings),
            "The contract of the model",
        ),
        _get(
            gateway,
            "/contract/example",
            info.example_handler(holder, settings),
            "A random row that the model takes",
        ),
        _get(
            gateway,
            "/model/info",
            info.info_handler(holder),
            "Version, origin, figures and runtime",
        ),
        Operation(
            gateway,
            "GET",
            "/metrics",
            _metrics_handler(predictor.metrics),
            Documented(
                "Metrics for Prometheus",
                tag="model",
                response={"text/plain": {"schema": {"type": "string"}}},
            ),
            needs="admin",
        ),
    ]


def _metrics_handler(metrics: Metrics) -> Handler:
    async def read(call: Call) -> Reply:
        return Reply(await metrics.text(), media_type=CONTENT_TYPE)

    return read


def _health(gateway: Gateway, predictor: Predictor) -> list[Operation]:
    holder = predictor.holder
    unready = (503,)
    return [
        Operation(
            gateway,
            "GET",
            "/health",
            health.health_handler(holder, predictor.log),
            Documented("How everything is", tag="health", response=_json(ref("Health"))),
            needs=None,
        ),
        Operation(
            gateway,
            "GET",
            "/health/live",
            health.live_handler(),
            Documented("Is the process alive?", tag="health", response=_json(_OBJECT)),
            needs=None,
        ),
        Operation(
            gateway,
            "GET",
            "/health/ready",
            health.ready_handler(holder),
            Documented(
                "Can requests be answered?",
                tag="health",
                response=_json(_OBJECT),
                problems=unready,
            ),
            needs=None,
        ),
    ]


def _mlflow(gateway: Gateway, predictor: Predictor, settings: ServingConfig) -> list[Operation]:
    holder = predictor.holder
    bodies = {
        JSON: {"schema": ref("Invocation")},
        "text/csv": {"schema": {"type": "string"}},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
    }
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array"}},
    }
    return [
        Operation(
            gateway,
            "POST",
            "/invocations",
            mlflow_protocol.invocations_handler(predictor),
            Documented(
                "Predict, as MLflow's scoring server does",
                tag="mlflow",
                request=bodies,
                response=_json(answer),
            ),
            limit=settings.batch_limit,
        ),
        Operation(
            gateway,
            "GET",
            "/ping",
            mlflow_protocol.ping_handler(holder),
            Documented("Is a model loaded?", tag="mlflow", problems=(404,)),
            needs=None,
        ),
        Operation(
            gateway,
            "GET",
            "/version",
            mlflow_protocol.version_handler(holder),
            Documented(
                "MLflow's version",
                tag="mlflow",
                response={"text/plain": {"schema": {"type": "string"}}},
            ),
            needs=None,
        ),
    ]


def _inference(gateway: Gateway, predictor: Predictor, settings: ServingConfig) -> list[Operation]:
    holder = predictor.holder
    found = [
        _oip(gateway, "/v2", inference_protocol.server_handler(), "The server"),
        _oip(gateway, "/v2/health/live", inference_protocol.live_handler(), "Is it alive?"),
        _oip(
            gateway,
            "/v2/health/ready",
            inference_protocol.ready_handler(holder, model=False),
            "Is it ready?",
        ),
    ]
    for path in (MODEL, MODEL + "/versions/{version}"):
        found += [
            _oip(gateway, path, inference_protocol.metadata_handler(holder), "The model's tensors"),
            _oip(
                gateway,
                path + "/ready",
                inference_protocol.ready_handler(holder, model=True),
                "Is the model ready?",
            ),
            Operation(
                gateway,
                "POST",
                path + "/infer",
                inference_protocol.infer_handler(predictor),
                Documented(
                    "Predict",
                    tag="inference",
                    request=_json(ref("Inference")),
                    response=_json(_OBJECT),
                    parameters=_parameters(path),
                    problems=(404,),
                ),
                limit=settings.batch_limit,
            ),
        ]
    return found


def _oip(gateway: Gateway, path: str, handler: Handler, summary: str) -> Operation:
    docs = Documented(
        summary,
        tag="inference",
        response=_json(_OBJECT),
        parameters=_parameters(path),
        problems=(404, 503) if "{" in path else (503,),
    )
    return Operation(gateway, "GET", path, handler, docs, needs="predict" if "{" in path else None)


def _get(gateway: Gateway, path: str, handler: Handler, summary: str) -> Operation:
    docs = Documented(summary, tag="model", response=_json(_OBJECT), problems=(503,))
    return Operation(gateway, "GET", path, handler, docs)


def _parameters(path: str) -> tuple[dict[str, Any], ...]:
    names = [name for name in ("name", "version") if f"{{{name}}}" in path]
    return tuple(
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    )


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


_OBJECT: Final = {"type": "object"}
