"""Ask the server on this machine whether it is alive: ``python -m evergreen.serving.probe``.

For a container's health check; exit code 0 where it answers, else 1. The port is that of
``EVERGREEN_SERVING_PORT``, else 8000.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

PATIENCE: Final = 4.0  # seconds


def main() -> int:
    """Return 0 where the server is alive, else 1, having said why."""
    port = os.environ.get("EVERGREEN_SERVING_PORT") or "8000"
    try:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE)
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        print(f"Port {port} does not answer: {error}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"Port {port} answers with status {status}.", file=sys.stderr)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    raise SystemExit(main())
