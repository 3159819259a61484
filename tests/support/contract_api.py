"""The API of a small model, in this process: no server, but all that it does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import sqlalchemy as sa

from evergreen.data.contract import Column, Contract
from evergreen.serving.api import create_app
from evergreen.serving.holder import ModelHolder
from evergreen.serving.keys import KeyRing
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.runtime import Outputs, load_runtime
from evergreen.serving.settings import ServingConfig

JSON = {"content-type": "application/json"}
ROW: dict[str, Any] = {
    "mast / height": 10.5,
    "crew": 4,
    "licensed": True,
    "harbour": "Kiel",
    "built": "1995-06-01T12:30:00",
}
PROMISES = {
    "mast / height": {"minimum": 0.0, "maximum": 60.0, "declared": ("maximum", "minimum")},
    "crew": {"minimum": 1.0, "maximum": 12.0, "declared": ("maximum", "minimum")},
    "harbour": {"categories": ("Kiel", "Åbo"), "declared": ("categories",)},
}


class WatchedRuntime:
    """A bundle's runtime that remembers what it was asked, with promises added."""

    def __init__(self, folder: Path, promises: Mapping[str, Mapping[str, Any]]) -> None:
        self._runtime = load_runtime(folder)
        self.contract = promised(self._runtime.contract, promises)
        self.manifest = self._runtime.manifest
        self.kind = self._runtime.kind
        self.bundle = self._runtime.bundle
        self.bundle_version = None
        self.asked: list[Any] = []

    def predict(self, batch: Any) -> Outputs:
        self.asked.append(batch)
        return self._runtime.predict(batch)

    def explain(self, batch: Any) -> Any:
        return self._runtime.explain(batch)


def promised(contract: Contract, promises: Mapping[str, Mapping[str, Any]]) -> Contract:
    """Return the contract with promises added."""
    columns = [
        Column.model_validate({**column.model_dump(), **promises.get(column.name, {})})
        for column in contract.columns
    ]
    return contract.model_copy(update={"columns": tuple(columns)})


@dataclass
class Api:
    """An application with what it uses."""

    app: Any
    holder: ModelHolder
    log: PredictionLog
    runtime: WatchedRuntime | None
    url: str

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Make one request."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(ask())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, content: Any, **arguments: Any) -> httpx.Response:
        """Post JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {**JSON, **arguments.pop("headers", {})}
        return self.request("POST", path, content=body, headers=headers, **arguments)

    def rows_logged(self, table: str = "predictions") -> list[dict[str, Any]]:
        """Return a table of the prediction log, once all that was answered is there."""
        self.log.wait_safe(10)
        deadline = time.monotonic() + 10
        while self.log.counts.spooled and time.monotonic() < deadline:
            time.sleep(0.02)
        engine = sa.create_engine(self.url)
        try:
            if not sa.inspect(engine).has_table(table):
                return []
            return pd.read_sql_table(table, engine).to_dict("records")
        finally:
            engine.dispose()

    def close(self) -> None:
        self.log.close()


def make_api(
    folder: Path | None,
    home: Path,
    settings: ServingConfig | None = None,
    *,
    promises: Mapping[str, Mapping[str, Any]] = PROMISES,
    auth: KeyRing | None = None,
    version: str | None = "3",
    durable: bool = False,
) -> Api:
    """Return the API of the bundle in ``folder``; None for one without a model."""
    holder = ModelHolder()
    url = f"sqlite:///{home / 'predictions.db'}"
    log = PredictionLog(url, "boats", spool=home / "spool", durable=durable)
    app = create_app(
        holder,
        log,
        settings or ServingConfig(),
        auth=auth,
        monitoring=f"sqlite:///{home / 'evergreen.db'}",
    )
    runtime = None
    if folder is not None:
        runtime = WatchedRuntime(folder, promises)
        holder.swap(runtime, version, "champion")
    return Api(app, holder, log, runtime, url)
