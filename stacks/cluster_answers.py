"""What a cluster's API server says where it refuses something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes.client import ApiException


def refusal(error: ApiException) -> str:
    """Return the message in an answer's body; its status where there is none."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
