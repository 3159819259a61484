"""Sentences about what serves."""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.deployment.values import ServerState


def now_serving(states: Sequence[ServerState]) -> str:
    """Say in a sentence what serves after a deployment was taken back."""
    serving = [
        f"{state.title} version {state.version} at {state.url}" for state in states if state.serves
    ]
    if not serving:
        return "Everything is as it was before: nothing serves."
    return f"Everything is as it was before: {'; '.join(serving)}."


def condition(state: ServerState) -> str:
    """Say in a few words how a server is."""
    if state.condition == "running":
        return "degraded" if state.detail else "running"
    return {"absent": "not deployed", "stale": "down", "starting": "starting"}[state.condition]
