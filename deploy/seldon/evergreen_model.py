"""Evergreen's models behind seldon-core's Python wrapper: REST and gRPC, Seldon's own protocol.

    seldon-core-microservice evergreen_model.EvergreenModel --service-type MODEL

What to serve comes as Seldon's parameters (PREDICTIVE_UNIT_PARAMETERS) or from the environment;
docs/seldon.md lists them.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import flask
import numpy as np
from google.protobuf import json_format
from pydantic import ValidationError
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.proto.prediction_pb2 import Feedback, SeldonMessage
from seldon_core.user_model import SeldonResponse
from seldon_core.utils import construct_response, construct_response_json

from evergreen.errors import EvergreenError, InputError, RefusedError, UnreachableError
from evergreen.serving.assembly import Loaded, load, open_log
from evergreen.serving.holder import ModelHolder
from evergreen.serving.model_address import find_bundle, options_for
from evergreen.serving.problems import Problem
from evergreen.serving.runtime import load_runtime
from evergreen.serving.seldon_service import SeldonService, model_metadata, output_names
from evergreen.serving.settings import ServingConfig

BOOT_ERROR = 3  # gunicorn's WORKER_BOOT_ERROR: end, instead of trying for ever
_REASONS = {RefusedError: (501, "not-kept"), UnreachableError: (503, "not-ready")}


class Refusal(SeldonMicroserviceException):
    """A message that is not answered, and why; seldon-core's REST server makes its body of it."""

    def __init__(self, error: Problem | EvergreenError) -> None:
        if isinstance(error, Problem):
            code, reason, info = error.status, error.kind, error.detail
            if error.errors and error.errors[0].allowed:
                info += f"; allowed is {error.errors[0].allowed}"
            code = code if code == 413 or code >= 500 else 400
        else:
            code, reason = _REASONS.get(type(error), (400, "invalid-input"))
            info = str(error)
        super().__init__(info, status_code=code, reason=reason)
        self.args = (info,)

    def to_dict(self) -> dict[str, Any]:
        """Return a SeldonMessage that has a status and nothing else."""
        status = {"status": "FAILURE", "code": self.status_code}
        return {"status": {**status, "info": self.message, "reason": self.reason}}

    def to_proto(self) -> SeldonMessage:
        """Return the same for gRPC, where seldon-core knows no status but UNKNOWN."""
        return json_format.ParseDict(self.to_dict(), SeldonMessage())


class EvergreenModel:
    """A bundle, or the version that an alias names, as a component of Seldon's graphs.

    Parameters
    ----------
    model_uri
        A folder, ``models:/NAME@ALIAS``, or an object store; see `evergreen.serving.model_address`.
        Default: EVERGREEN_MODEL_URI, else /mnt/models.
    model_version
        What a bundle's version is called in the answers. The registry's own names come first.
        Default: EVERGREEN_MODEL_VERSION.
    settings
        The section ``serving`` of a use case, as JSON: what is refused, and the prediction log.
        Default: EVERGREEN_SERVING_SETTINGS.
    """

    def __init__(self, model_uri: str = "", model_version: str = "", settings: str = "") -> None:
        address = model_uri or os.environ.get("EVERGREEN_MODEL_URI") or "/mnt/models"
        self._version = model_version or os.environ.get("EVERGREEN_MODEL_VERSION") or None
        try:
            options = options_for(address, _settings(settings))
            found = find_bundle(options)
        except EvergreenError as error:
            _end(error, error.exit_code)
        self._options = options
        self._contract = found.bundle.contract
        self._metadata = model_metadata(
            self._contract,
            found.version or self._version,
            "onnx_onnxv1" if found.bundle.manifest.runtime == "onnx" else "sklearn",
        )
        self._service: SeldonService | None = None
        self._loaded: Loaded | None = None
        self.model_error_handler = _error_handlers()
        _end_children_with_this_process()

    def load(self) -> None:
        """Load the model in a server's process; seldon-core calls this once in each."""
        try:
            self._loaded = self._load()
            log = None
            if self._options.settings.log.url is not None:
                log = open_log(self._options, self._contract)
            self._service = SeldonService(self._loaded.holder, self._options.settings, log)
        except EvergreenError as error:
            _end(error, BOOT_ERROR)
        except (AttributeError, NotImplementedError) as error:
            # seldon-core would take these for a class without this method, and serve nothing.
            raise RuntimeError(f"The model cannot be loaded: {error}") from error
        if self._loaded.watcher is not None:
            self._loaded.watcher.start()
        # gunicorn's workers end by the first, processes of `multiprocessing` by the second.
        atexit.register(self.close)
        multiprocessing.util.Finalize(None, self.close, exitpriority=100)

    def close(self) -> None:
        """Stop following the registry; bring the prediction log to its database."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        if loaded.watcher is not None:
            loaded.watcher.stop()
        if self._service is not None and self._service.log is not None:
            self._service.log.close()

    def predict_raw(self, message: Any) -> Any:
        """Answer a message: a SeldonMessage for gRPC, what its JSON holds for REST."""
        by_grpc = isinstance(message, SeldonMessage)
        try:
            plain = _message(message) if by_grpc else message
            answer = self._ready.predict(plain)
        except (Problem, EvergreenError) as error:
            refusal = Refusal(error)
            return refusal.to_proto() if by_grpc else refusal.to_dict()
        construct = construct_response if by_grpc else construct_response_json
        # Of what comes by gRPC, seldon-core cannot count a metric that is 0, as gauges may be.
        metrics = answer.metrics if by_grpc else [*answer.metrics, *self.metrics()]
        return construct(self, False, message, answer.data, _passed_on(plain), metrics, answer.tags)

    def predict(
        self, X: Any, names: Iterable[str] | None = None, meta: Mapping[str, Any] | None = None
    ) -> SeldonResponse:
        """Answer rows of values (by ``names``, else in contract order) to callers in Python."""
        if isinstance(X, (np.ndarray, list)):
            content = {"data": {"names": list(names or ()), "ndarray": np.asarray(X).tolist()}}
        else:
            content = {"jsonData": X}
        try:
            answer = self._ready.predict({**content, "meta": dict(meta or {})})
        except (Problem, EvergreenError) as error:
            raise Refusal(error) from error
        return SeldonResponse(answer.data, answer.tags, answer.metrics)

    def send_feedback_raw(self, feedback: Feedback) -> SeldonMessage:
        """Write true labels down, for the prediction whose answer is the feedback's response."""
        try:
            accepted = self._ready.feedback(_feedback(feedback))
        except (Problem, EvergreenError) as error:
            refusal = Refusal(error)
            if flask.has_request_context():
                raise refusal from error
            return refusal.to_proto()
        return json_format.ParseDict({"jsonData": {"accepted": accepted}}, SeldonMessage())

    def class_names(self) -> list[str]:
        """Return what the columns of an answer stand for."""
        return output_names(self._contract)

    def feature_names(self) -> list[str]:
        """Return the fields that the model takes, in contract order."""
        return [column.name for column in self._contract.features]

    def tags(self) -> dict[str, Any]:
        """Return which model and version serve."""
        return self._ready.tags()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the state of model and log."""
        return self._ready.gauges()

    def health_status(self) -> dict[str, Any]:
        """Return how model and log are; 503 where no model is loaded."""
        found = {"status": "unavailable", "problems": ["no model is loaded"]}
        if self._service is not None:
            found = self._service.health()
        if found["status"] == "unavailable":
            raise Refusal(UnreachableError("; ".join(found["problems"])))
        return found

    def init_metadata(self) -> dict[str, Any]:
        """Return name, version, inputs and outputs."""
        return self._metadata

    @property
    def _ready(self) -> SeldonService:
        if self._service is None:
            raise UnreachableError("No model is loaded yet; try again in a moment.")
        return self._service

    def _load(self) -> Loaded:
        if self._options.bundle is None:
            return load(self._options)
        holder = ModelHolder()
        holder.swap(load_runtime(self._options.bundle, self._version), self._version)
        return Loaded(holder, None)


def _settings(text: str) -> ServingConfig:
    text = text or os.environ.get("EVERGREEN_SERVING_SETTINGS") or "{}"
    try:
        return ServingConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("serving", *first["loc"]))
        raise InputError(f"The settings cannot be used: {where}: {first['msg']}.") from error


def _message(message: SeldonMessage) -> dict[str, Any]:
    """Return what a gRPC message holds, as its JSON form would."""
    form = message.WhichOneof("data_oneof")
    try:
        plain: dict[str, Any] = {"meta": json_format.MessageToDict(message.meta)}
        if form == "data":
            plain["data"] = _arrays(message.data)
        elif form is not None:
            value = getattr(message, form)
            plain[form] = json_format.MessageToDict(value) if form == "jsonData" else value
    except (json_format.Error, ValueError) as error:
        raise Problem("malformed-body", f"The message cannot be read: {error}.") from error
    return plain


def _arrays(data: Any) -> dict[str, Any]:
    form = data.WhichOneof("data_oneof")
    plain: dict[str, Any] = {"names": list(data.names)}
    if form == "tensor":
        plain["tensor"] = {"shape": list(data.tensor.shape), "values": list(data.tensor.values)}
    elif form == "ndarray":
        plain["ndarray"] = json_format.MessageToDict(data.ndarray)
    elif form is not None:
        plain[form] = getattr(data, form)
    return plain


def _feedback(feedback: Feedback) -> dict[str, Any]:
    truth = _message(feedback.truth) if feedback.HasField("truth") else None
    return {"response": _message(feedback.response), "truth": truth}


def _passed_on(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component of a graph hands on: tags, and the path that a message went."""
    meta = message.get("meta") or {}
    return {
        "tags": dict(meta.get("tags") or {}),
        "requestPath": dict(meta.get("requestPath") or {}),
    }


def _error_handlers() -> flask.Blueprint:
    """Answer 400 where seldon-core would answer 500: bodies that cannot be read at all."""
    handlers = flask.Blueprint("evergreen", __name__)

    def unreadable(error: Exception) -> Any:
        detail = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        refusal = Refusal(Problem("malformed-body", f"The body is no JSON: {detail}."))
        return flask.jsonify(refusal.to_dict()), refusal.status_code

    for kind in (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        handlers.app_errorhandler(kind)(unreadable)
    return handlers


def _end_children_with_this_process() -> None:
    """End seldon-core's gRPC processes on SIGTERM; it waits for them without telling them."""

    def stop(*_: object) -> NoReturn:
        for child in multiprocessing.active_children():
            with contextlib.suppress(OSError):
                child.terminate()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)  # gunicorn's main process has its own; the others keep it
    main = os.getpid()

    def at_exit() -> None:
        if os.getpid() == main:
            for child in multiprocessing.active_children():
                child.terminate()

    atexit.register(at_exit)


def _end(error: EvergreenError, code: int) -> NoReturn:
    """End with one message and no trace."""
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    raise SystemExit(int(code)) from error
