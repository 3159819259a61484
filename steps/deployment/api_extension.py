"""What makes a ZenML deployment host the contract API."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from zenml.deployers.server import BaseDeploymentAppRunner

OF_ZENML: Final = frozenset({"/invoke", "/submit", "/info"})  # everything else is the API's


def host_contract_api(
    app_runner: BaseDeploymentAppRunner,
    *,
    model: str,
    home: str,
    settings: dict[str, Any],
    **_: Any,
) -> None:
    """Let ZenML's application answer with the contract API of a model's champion.

    The API follows the alias by itself, so a new champion needs no new deployment. ``settings``
    is the section ``serving`` of the use case; what else is given only tells deployments apart.

    Raises as `evergreen.serving.assembly.make_app` does.
    """
    from evergreen.paths import Home
    from evergreen.serving.assembly import make_app
    from evergreen.serving.options import ServerOptions
    from evergreen.serving.settings import ServingConfig
    from steps.promotion.champion import open_registry

    state = Home(Path(home))
    remembered = state.root / "serving" / f"{model}-deployed.json"
    remembered.parent.mkdir(parents=True, exist_ok=True)
    api = make_app(
        ServerOptions(
            model=model,
            registry=open_registry().tracking_uri,
            host=app_runner.settings.uvicorn_host,
            given_key=app_runner.deployment.auth_key,  # asked for where others reach the host
            memory=remembered,
            settings=ServingConfig.model_validate(settings),
            home=state,
        )
    )
    app: Any = app_runner.asgi_app
    app.add_middleware(ContractApiFirst, api=api)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        async with api.router.lifespan_context(api), inner(application) as state:
            yield state

    app.router.lifespan_context = lifespan


class ContractApiFirst:
    """Gives every request to the contract API, but those for ZenML's own endpoints."""

    def __init__(self, app: ASGIApp, api: ASGIApp) -> None:
        self.app, self.api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        mine = scope["type"] == "http" and scope["path"] not in OF_ZENML
        await (self.api if mine else self.app)(scope, receive, send)
