"""``--list``: what there is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evergreen.errors import EvergreenError
from evergreen.use_case import load_use_case

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = {
    "train": "From a YAML file to a registered, judged model.",
    "deploy": "From a champion to servers that answer as it does.",
    "batch": "From a table and a champion to a prediction for every row.",
    "monitor": "From a window of what the champion saw to a decision.",
    "retrain": "From labelled predictions to a judged challenger of the champion.",
    "continuous": "One turn of the loop: monitor, decide, and do what that asks for.",
}


def overview() -> dict[str, Any]:
    """Return pipelines, use cases and stack files, each with one line of description."""
    return {
        "pipelines": PIPELINES,
        "use_cases": {
            str(path.relative_to(ROOT)): _describe(path)
            for path in sorted((ROOT / "configs").glob("*.yaml"))
        },
        "stacks": {
            str(path.relative_to(ROOT)): f"python -m stacks apply {path.relative_to(ROOT)}"
            for path in sorted((ROOT / "stacks").glob("*.yaml"))
        },
    }


def _describe(path: Path) -> str:
    try:
        use_case = load_use_case(path)
    except EvergreenError as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
    return use_case.description or f"{use_case.task} of {use_case.data.target}"
