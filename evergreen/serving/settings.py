"""The section ``serving`` of a use case: what the API takes, refuses, writes down and limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from evergreen.data.source_config import keep_references
from evergreen.durations import Duration
from evergreen.serving.traffic import TrafficConfig
from evergreen.values import Value

Judgement = Literal["reject", "flag"]
Address = Annotated[str, BeforeValidator(keep_references, json_schema_input_type=str)]
Origin = Annotated[str, Field(pattern=r"^(https?://[^/\s*]+|\*)$")]


class PredictionLogConfig(Value):
    """Where predictions are written down, and what is kept of them."""

    url: Address | None = Field(
        None,
        description="SQLAlchemy URL of SQLite or PostgreSQL. Default: .evergreen/predictions.db.",
    )
    durable: bool = Field(
        False, description="Answer only once the prediction is on disk; slower, loses nothing."
    )
    retention: Duration | None = Field(None, description="Older predictions are deleted.")
    redact: dict[str, Literal["hash", "drop"]] = Field(
        {}, description="Columns whose values are written down as a keyed hash, or not at all."
    )


class ServingConfig(Value):
    """What the API takes, refuses, writes down and limits."""

    out_of_range: Judgement = Field(
        "reject", description="A number outside a range written in the contract."
    )
    unknown_category: Judgement = Field(
        "reject", description="A category outside a list written in the contract."
    )
    missing: Literal["reject", "flag", "accept"] = Field(
        "reject", description="A missing value where the contract promises one."
    )
    extra_fields: Literal["reject", "ignore"] = Field(
        "reject", description="A field that the contract does not know."
    )
    body_limit: int = Field(
        1_048_576, ge=1024, description="Bytes of one request, batches apart (1 MiB)."
    )
    batch_limit: int = Field(
        67_108_864, ge=1024, description="Bytes of one batch request (64 MiB)."
    )
    batch_rows: int = Field(100_000, ge=1, description="Rows of one batch request.")
    micro_batch: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Single rows that wait for a busy native model and are predicted at once. 1: "
        "one by one.",
    )
    rate_limit: float | None = Field(
        None, gt=0, description="Requests per second and key (without keys: per address)."
    )
    rate_burst: int = Field(
        100, ge=1, description="Requests that may come at once before the rate limit counts."
    )
    cors_origins: tuple[Origin, ...] = Field(
        (), description="Web origins whose scripts may call, such as https://app.example.org."
    )
    workers: int = Field(1, ge=1, le=64, description="Processes; they share nothing but the log.")
    log: PredictionLogConfig = Field(PredictionLogConfig(), description="The prediction log.")
    traffic: TrafficConfig = Field(TrafficConfig(), description="What a challenger gets to answer.")
