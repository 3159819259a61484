"""What a server was started with; a plain value, so that every worker process gets a copy."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from evergreen.paths import Home
from evergreen.serving.settings import ServingConfig

REGISTRY_VARIABLE: Final = "MLFLOW_TRACKING_URI"
# Longer than needed: Kubernetes sets NAME_PORT for every service, so EVERGREEN_PORT may be taken.
VARIABLE_PREFIX: Final = "EVERGREEN_SERVING_"


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, where, and how.

    ``bundle`` names a folder; otherwise the registry's ``version``, or what ``alias`` names.
    """

    model: str | None = None  # None: whatever the bundle is of
    alias: str = "champion"
    version: str | None = None
    bundle: Path | None = None
    registry: str | None = None  # MLflow's address; None: the environment's, or our own store
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    log_server: str | None = None  # the server whose log process takes the workers' rows
    memory: Path | None = None  # see `evergreen.serving.watcher.Watcher`
    require_keys: bool = False  # also where this machine alone can reach the server
    keys: Path | None = None  # file of the API keys; None: the one in the state folder
    given_key: str | None = field(default=None, repr=False)  # holds beside those of the file
    settings: ServingConfig = field(default_factory=ServingConfig)
    home: Home = field(default_factory=Home.locate)

    @property
    def registry_uri(self) -> str:
        """The address of MLflow's registry."""
        return self.registry or os.environ.get(REGISTRY_VARIABLE) or self.home.mlflow_uri

    @property
    def log_url(self) -> str:
        """The prediction log's address, with references such as ``${DB_PASSWORD}`` resolved."""
        url = self.settings.log.url
        if url is None:
            return self.home.prediction_log_url
        from evergreen.data.sources.environment import Environment

        return Environment(os.environ).resolve(url, "serving.log.url", lambda text: quote(text, ""))

    @property
    def key_file(self) -> Path:
        """The file of the API keys."""
        return self.keys or self.home.root / "serving" / "keys.json"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
