"""The quality checks as the use case states them: how bad a finding is, and from when on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from evergreen.values import Value

Severity = Literal["off", "info", "warning", "error"]


class Check(Value):
    """One quality check: how bad a finding is, and from which figure on there is one."""

    severity: Severity = Field("warning", description="What a finding means; error stops the run.")
    limit: float | None = Field(
        None, ge=0, description="The check's bound; what it counts stands with the check."
    )


def _check(severity: Severity, meaning: str, limit: float | None = None) -> Any:
    return Field(default=Check(severity=severity, limit=limit), description=meaning)


class QualityConfig(Value):
    """The quality checks with their severities and limits. An error stops the run (exit code 1)."""

    minimum_rows: Check = _check("error", "The table has at least `limit` rows.", 20)
    types: Check = _check("error", "Every value can be read as its column's type.")
    ranges: Check = _check("error", "Numbers stay within a range written in the contract.")
    categories: Check = _check("error", "Categories are among those written in the contract.")
    nulls: Check = _check("error", "Columns that the contract calls not nullable are filled.")
    infinities: Check = _check("error", "No feature or target is infinite.")
    empty_columns: Check = _check("error", "Every column holds at least one value.")
    missing: Check = _check("warning", "At most this share of a column is missing.", 0.3)
    constant_columns: Check = _check("warning", "Every feature holds at least two values.")
    duplicates: Check = _check(
        "warning", "At most this share of the rows repeat an earlier row in every column.", 0.05
    )
    outliers: Check = _check(
        "info",
        "At most this share of a feature lies more than three interquartile ranges beyond the "
        "quartiles (Tukey's far fences).",
        0.05,
    )
    freshness: Check = _check("error", "The newest timestamp is younger than data.expires_after.")
    target_missing: Check = _check("error", "At most this share of targets is missing.", 0.2)
    target_constant: Check = _check("error", "The target takes at least two values.")
    class_rows: Check = _check(
        "error", "Every class has at least `limit` rows, and as many as the folds need.", 2
    )
    class_balance: Check = _check("warning", "The rarest class has at least this share.", 0.02)
    leakage: Check = _check(
        "error",
        "No feature alone predicts the target with this skill (1: perfectly, 0: like a guess).",
        0.999,
    )
    identifiers: Check = _check(
        "warning",
        "No feature of text, or of rising or gapless whole numbers, has this share of distinct "
        "values.",
        0.95,
    )
    shared_rows: Check = _check(
        "error",
        "At most this share of the holdout's rows have the features of a training row; no group "
        "is on both sides.",
        0.01,
    )
    future_rows: Check = _check(
        "error",
        "No training row is later than a split by time; no date feature (a warning at most) is "
        "later than its row.",
    )

    @field_validator("*", mode="before", json_schema_input_type=Check | Severity | Literal[False])
    @classmethod
    def _read_short_form(cls, value: Any, info: Any) -> Any:
        """Read ``missing: error`` as a severity; keep the default for what is not written."""
        written = {"severity": value} if isinstance(value, str | bool) else value
        if written == {"severity": False}:
            written = {"severity": "off"}  # YAML 1.1 reads `off` as false
        if isinstance(written, dict) and info.field_name in cls.model_fields:
            return cls.model_fields[info.field_name].default.model_dump() | written
        return written
