"""Simulated traffic: rows of the use case's own table, changed on purpose, sent to an API."""

from __future__ import annotations

from typing import Final, Literal, get_args

Scenario = Literal[
    "none",
    "covariate_shift",
    "gradual_shift",
    "new_category",
    "missingness",
    "stuck_sensor",
    "label_shift",
    "concept_change",
]
SCENARIOS: Final[tuple[str, ...]] = get_args(Scenario)
