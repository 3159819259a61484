"""Sentences about what serves."""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.deployment.values import ServerState


def now_serving(before: Sequence[ServerState], now: Sequence[ServerState]) -> str:
    """Say in a sentence what serves after a deployment was taken back."""
    serving = [
        f"{state.title} version {state.version} at {state.url}" for state in now if state.serves
    ]
    served = {(state.title, state.version, state.url) for state in before if state.serves}
    lost = served - {(state.title, state.version, state.url) for state in now if state.serves}
    what = "; ".join(serving) or "nothing serves"
    if lost:
        return f"Not everything could be brought back. What serves now: {what}."
    return f"Everything is as it was before: {what}."


def condition(state: ServerState) -> str:
    """Say in a few words how a server is."""
    if state.condition == "running":
        return "degraded" if state.detail else "running"
    return {
        "absent": "not deployed",
        "stale": "down",
        "starting": "starting",
        "rendered": "rendered",
    }[state.condition]
