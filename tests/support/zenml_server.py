"""A ZenML server as a process of its own, with a key for clients and pods."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.postgres import free_port
from tests.support.server_process import kill, wait_until_it_answers

PATIENCE = 600.0  # on a busy machine; its database is made first


@dataclass(frozen=True)
class ZenMLServer:
    url: str
    key: str

    def environment(self) -> dict[str, str]:
        """Return what connects a client without a login."""
        return {"ZENML_STORE_URL": self.url, "ZENML_STORE_API_KEY": self.key}


@contextmanager
def running_zenml(folder: Path, host: str = "127.0.0.1") -> Iterator[ZenMLServer]:
    """Run a server that listens at ``host``, with its database in ``folder``."""
    port = free_port()
    password = secrets.token_hex(12)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ZENML_")},
        "ZENML_CONFIG_PATH": str(folder / "config"),
        "ZENML_SERVER_AUTO_ACTIVATE": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
        "ZENML_DEFAULT_USER_NAME": "admin",
        "ZENML_DEFAULT_USER_PASSWORD": password,
        "ZENML_ANALYTICS_OPT_IN": "false",
    }
    app = "zenml.zen_server.zen_server_api:app"
    words = (sys.executable, "-m", "uvicorn", app, "--host", host, "--port", str(port))
    url = f"http://{host}:{port}"
    log = folder / "zenml.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_it_answers(process, f"{url}/health", log, PATIENCE)
        yield ZenMLServer(url, _key(url, password))
    finally:
        kill(process)


def _key(url: str, password: str) -> str:
    """Make a service account, and return a key of it."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        login = client.post("/login", data={"username": "admin", "password": password})
        login.raise_for_status()
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        account = client.post("/service_accounts", json={"name": "tests", "active": True})
        account.raise_for_status()
        made = client.post(
            f"/service_accounts/{account.json()['id']}/api_keys", json={"name": "tests"}
        )
        made.raise_for_status()
        return str(made.json()["body"]["key"])
