"""The servers of the comparison, and how each is started and spoken to.

All answer with the probabilities of the three classes, in the protocol that each documents first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_peers.server import Rows, Server


def values(rows: Rows) -> list[list[float]]:
    return [list(row.values()) for row in rows]


def as_split(rows: Rows) -> Any:
    return {"dataframe_split": {"columns": list(rows[0]), "data": values(rows)}}


def as_tensor(rows: Rows) -> Any:
    tensor = {"name": "rows", "shape": [len(rows), len(rows[0])], "datatype": "FP64"}
    flat = [value for row in rows for value in row.values()]
    return {"inputs": [{**tensor, "data": flat}], "outputs": [{"name": "predict_proba"}]}


def from_tensor(answer: Any) -> list[list[float]]:
    output = answer["outputs"][0]
    width, flat = output["shape"][1], output["data"]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def mlserver(workers: int) -> dict[str, str]:
    return {
        "MLSERVER_HTTP_PORT": "{port}",
        "MLSERVER_GRPC_PORT": "0",
        "MLSERVER_METRICS_PORT": "0",
        "MLSERVER_DEBUG": "false",
        "MLSERVER_PARALLEL_WORKERS": str(workers),
    }


def ours_batch(answer: Any) -> list[list[float]]:
    return [list(row["probabilities"].values()) for row in answer["predictions"]]


def uvicorn(target: str) -> Any:
    return lambda programs, model, port: [
        *(f"{programs}/python", "-m", "uvicorn", target, "--port", str(port)),
        *("--workers", "1", "--log-level", "warning", "--no-access-log"),
    ]


def start_mlserver(programs: Any, model: Any, port: int) -> list[str]:
    return [f"{programs}/mlserver", "start", str(model)]


MLSERVER: Mapping[str, Any] = {
    "folder": "mlserver",
    "command": start_mlserver,
    "path": "/v2/models/forest/infer",
    "body": as_tensor,
    "answer": from_tensor,
}

SERVERS = (
    Server(
        name="mlflow",
        title="MLflow 3.17 (`mlflow models serve`)",
        folder="mlflow",
        command=lambda programs, model, port: [
            *(f"{programs}/mlflow", "models", "serve", "--model-uri", str(model)),
            *("--port", str(port), "--workers", "1", "--env-manager", "local"),
        ],
        path="/invocations",
        body=as_split,
        answer=lambda answer: answer["predictions"],
    ),
    Server(
        name="bentoml",
        title="BentoML 1.4",
        folder="bentoml",
        command=lambda programs, model, port: [
            *(f"{programs}/bentoml", "serve", "service:Forest", "--port", str(port)),
        ],
        path="/predict",
        body=lambda rows: {"rows": values(rows)},
        answer=list,
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        name="seldon",
        title="Seldon Core 1.18 (Python wrapper)",
        folder="seldon",
        command=lambda programs, model, port: [
            *(f"{programs}/seldon-core-microservice", "Forest", "--service-type", "MODEL"),
            *("--http-port", str(port), "--grpc-port", "0", "--metrics-port", "0"),
            *("--workers", "1"),
        ],
        path="/api/v1.0/predictions",
        body=lambda rows: {"data": {"ndarray": values(rows)}},
        answer=lambda answer: answer["data"]["ndarray"],
    ),
    Server(
        name="mlserver",
        title="MLServer 1.7 (in the server's process)",
        environment=mlserver(0),
        **MLSERVER,
    ),
    Server(
        name="mlserver-parallel",
        title="MLServer 1.7 (as it comes: one inference process)",
        environment=mlserver(1),
        **MLSERVER,
    ),
    Server(
        name="empty",
        title="empty ASGI app (uvicorn)",
        folder="empty",
        command=uvicorn("app:app"),
        path="/",
        body=lambda rows: rows[0],
        answer=lambda answer: [],
    ),
    Server(
        name="evergreen",
        title="**Evergreen** (validation and prediction log on)",
        folder="evergreen",
        command=lambda programs, model, port: [
            *(f"{programs}/python", "-m", "evergreen.serving", "--bundle", str(model)),
            *("--port", str(port), "--workers", "1"),
        ],
        path="/predict",
        body=lambda rows: rows[0],
        answer=lambda answer: [list(answer["probabilities"].values())],
        batch_path="/predict/batch",
        batch_body=list,
        batch_answer=ours_batch,
    ),
)
