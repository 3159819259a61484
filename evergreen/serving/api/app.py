"""The contract API as a FastAPI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import evergreen
from evergreen.serving.api.endpoints import operations
from evergreen.serving.api.metrics import Metrics
from evergreen.serving.api.monitoring_metrics import MonitoringMetrics
from evergreen.serving.api.openapi import document
from evergreen.serving.api.operation import HANDLED, Gateway, Operation
from evergreen.serving.api.predictor import Predictor
from evergreen.serving.api.rate_limit import RateLimiter
from evergreen.serving.newest_window import WindowReader
from evergreen.serving.problems import MEDIA_TYPE, Problem
from evergreen.serving.security import PageHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.keys import KeyRing
    from evergreen.serving.prediction_log import PredictionLog
    from evergreen.serving.settings import ServingConfig

PAGE: Final = Path(__file__).resolve().parents[1] / "page"
_HERE: Final = Path(__file__).resolve().parent


def create_app(
    holder: ModelHolder,
    log: PredictionLog,
    settings: ServingConfig,
    *,
    auth: KeyRing | None = None,
    monitoring: str | None = None,
) -> FastAPI:
    """Return the application that answers from ``holder`` and writes to ``log``.

    Parameters
    ----------
    holder
        What is served. It may be exchanged, and may still be empty: then requests get a 503.
    log
        Where predictions are written down, before they are answered.
    settings
        The section ``serving`` of the use case.
    auth
        The API keys. None lets everybody in, which is for this machine alone.
    monitoring
        Address of the database with the monitoring history, of which Prometheus is told.
    """
    watched = None if monitoring is None else MonitoringMetrics(holder, WindowReader(monitoring))
    metrics = Metrics(holder, log, watched)
    limiter = (
        None
        if settings.rate_limit is None
        else RateLimiter(settings.rate_limit, settings.rate_burst)
    )
    gateway = Gateway(metrics, auth, limiter)
    predictor = Predictor(holder, log, settings, metrics)
    offered = operations(gateway, predictor, settings)
    app = ContractAPI(offered, settings, partial(_running, metrics, predictor))

    def openapi() -> dict[str, Any]:
        contract = holder.current.contract if holder.ready else None
        return document(offered, contract, settings, keys=auth is not None)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


class ContractAPI(FastAPI):
    """A FastAPI application whose operations are found without trying every route in turn.

    An operation on a fixed path is looked up in a dictionary and called at once; everything else
    (documentation, pages, paths with parameters, mistakes) goes through FastAPI as usual.
    """

    def __init__(
        self,
        offered: Sequence[Operation],
        settings: ServingConfig,
        running: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(
            title="Evergreen",
            version=evergreen.__version__,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={HTTPException: _problem_page},
            lifespan=lambda _: running(),
        )
        self.router.routes += [Route(o.path, o, methods=[o.method]) for o in offered]
        self.router.routes += _pages()
        self.add_middleware(PageHeaders, handled=HANDLED)
        self._fixed = {(o.method, o.path): o for o in offered if "{" not in o.path}
        self._entry: ASGIApp = self._dispatch
        self._every_way_is_open = not settings.cors_origins
        if settings.cors_origins:
            self._entry = CORSMiddleware(
                self._dispatch,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=_sent_by_scripts(settings),
                expose_headers=["x-request-id", "x-model-version", "retry-after"],
            )

    def at_once(self, method: str, path: str) -> Operation | None:
        """Return the operation that may answer without ASGI's ceremony, where there is one."""
        found = self._fixed.get((method, path)) if self._every_way_is_open else None
        return found if found is not None and found.answers_at_once else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's life."""
        await self._entry(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            operation = self._fixed.get((scope["method"], scope["path"]))
            if operation is not None:
                await operation(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


@contextlib.asynccontextmanager
async def _running(metrics: Metrics, predictor: Predictor) -> AsyncIterator[None]:
    """End the shadow at the end, and publish the last figures for the other workers."""
    yield
    await asyncio.to_thread(predictor.shadow.close)
    metrics.publish()


def _sent_by_scripts(settings: ServingConfig) -> list[str]:
    """Return the headers that scripts of other origins may send."""
    kind, _, name = (settings.traffic.sticky or "").partition(":")
    sticky = [name.lower()] if kind == "header" else []
    return ["authorization", "content-type", "x-api-key", "x-request-id", *sticky]


def _pages() -> list[Any]:
    import fastapi_offline

    swagger = Path(fastapi_offline.__file__).parent / "static"
    return [
        Route("/", _page),
        Route("/docs", _docs),
        Route("/docs/start.js", lambda request: FileResponse(_HERE / "docs.js")),
        Mount("/docs/files", StaticFiles(directory=swagger)),
        Mount("/page", StaticFiles(directory=PAGE, check_dir=False)),
    ]


async def _page(request: Request) -> Response:
    page = PAGE / "page.html"
    return FileResponse(page) if page.is_file() else await _docs(request)


async def _docs(request: Request) -> Response:
    root = request.scope.get("root_path", "").rstrip("/")
    return HTMLResponse(_DOCS.replace("ROOT", root))


_DOCS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evergreen: the API</title>
<link rel="stylesheet" href="ROOT/docs/files/swagger-ui.css">
<link rel="icon" href="ROOT/docs/files/favicon.png">
</head>
<body>
<div id="swagger-ui" data-document="ROOT/openapi.json"></div>
<script src="ROOT/docs/files/swagger-ui-bundle.js"></script>
<script src="ROOT/docs/start.js"></script>
</body>
</html>
"""


async def _problem_page(request: Request, error: Exception) -> Response:
    """Word Starlette's own refusals as problem details."""
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for it alone)
    kinds = {404: "not-found", 405: "method-not-allowed"}
    kind = kinds.get(error.status_code)
    if kind is None:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    path = request.url.path[:200]
    detail = f"There is no {path}; GET /docs lists what there is."
    if kind == "method-not-allowed":
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{path} does not take {request.method[:20]}; it takes {allowed}."
    problem = Problem(kind, detail)
    return Response(problem.body(), problem.status, error.headers, MEDIA_TYPE.decode())
