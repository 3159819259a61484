"""The contract API: HTTP around a model, by its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evergreen.serving.api.app import create_app as create_app


def __getattr__(name: str) -> Any:
    """Load the application where it is asked for: the parts below it need no web framework."""
    if name == "create_app":
        from evergreen.serving.api.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
