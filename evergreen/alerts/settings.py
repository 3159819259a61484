"""The section ``alerts`` of a use case: who is told what, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from evergreen.alerts.alert import Severity
from evergreen.data.source_config import keep_references
from evergreen.durations import Duration
from evergreen.values import Value

REFERENCE = r"\$\([A-Za-z_][A-Za-z0-9_]*\)"  # as `keep_references` leaves it
Secret = Annotated[
    str,
    BeforeValidator(keep_references, json_schema_input_type=str),
    Field(examples=["$(ALERT_SECRET)"]),  # ZenML would resolve ${...} in the schema it stores
]
Text = Annotated[str, BeforeValidator(keep_references, json_schema_input_type=str)]
Texts = Annotated[
    dict[str, str], BeforeValidator(keep_references, json_schema_input_type=dict[str, str])
]
MailAddress = Annotated[str, Field(pattern=r"^[^@\s,<>]+@[^@\s,<>]+$")]


class ConsoleTarget(Value):
    """Standard error, which a pipeline run keeps in its log."""

    type: Literal["console"] = "console"
    minimum: Severity = Field("warning", description="Least severity that is told.")


class FileTarget(Value):
    """A file that grows by one line of JSON per alert."""

    type: Literal["file"] = "file"
    minimum: Severity = Field("info", description="Least severity that is told.")
    path: str | None = Field(
        None, min_length=1, description="Default: logs/alerts.jsonl in the state folder."
    )


class WebhookTarget(Value):
    """A web address that takes alerts as JSON by POST."""

    type: Literal["webhook"] = "webhook"
    minimum: Severity = Field("warning", description="Least severity that is told.")
    url: Text = Field(pattern=r"^(https?://|\$\()", description="May refer to the environment.")
    headers: Texts = Field({}, description="Values may refer to the environment.")
    timeout: float = Field(10, gt=0, le=120, description="Seconds per try.")


class SlackTarget(Value):
    """A channel of Slack, by its incoming webhook."""

    type: Literal["slack"] = "slack"
    minimum: Severity = Field("warning", description="Least severity that is told.")
    url: Secret = Field(
        pattern=f"^{REFERENCE}$",
        description="The webhook's address is a secret: a reference to the environment.",
    )
    timeout: float = Field(10, gt=0, le=120, description="Seconds per try.")


class EmailTarget(Value):
    """Mail by an SMTP server."""

    type: Literal["email"] = "email"
    minimum: Severity = Field("warning", description="Least severity that is told.")
    host: Text = Field(min_length=1, description="Name of the SMTP server.")
    port: int | None = Field(None, ge=1, le=65535, description="Default: that of its security.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted; none only where nobody listens."
    )
    username: Text | None = Field(None, description="May refer to the environment.")
    password: Secret | None = Field(
        None, pattern=f"^{REFERENCE}$", description="A reference to the environment."
    )
    sender: MailAddress = Field(description="Address that the mail comes from.")
    to: tuple[MailAddress, ...] = Field(min_length=1, description="Addresses that it goes to.")
    timeout: float = Field(10, gt=0, le=120, description="Seconds per try.")

    @model_validator(mode="after")
    def _secrets_are_encrypted(self) -> EmailTarget:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.password is not None and self.security == "none":
            raise ValueError("a password needs security: starttls or tls")
        return self


Target = Annotated[
    ConsoleTarget | FileTarget | WebhookTarget | SlackTarget | EmailTarget,
    Field(discriminator="type"),
]


def _targets(value: Any) -> Any:
    """Read a target without settings (``console:``) as one of the kind that it is named after."""
    if not isinstance(value, dict):
        return value
    return {name: {"type": name} if given is None else given for name, given in value.items()}


class AlertsConfig(Value):
    """Who is told what, and how often. The stack's alerter, where there is one, is told besides."""

    targets: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")], Target],
        BeforeValidator(_targets, json_schema_input_type=dict[str, Target | None]),
    ] = Field({}, description="A name of your own: where it is, and what it is told.")
    repeat_after: Duration = Field(
        timedelta(hours=6), description="The same alert is told again after this time only."
    )
    attempts: int = Field(3, ge=1, le=10, description="Tries per alert and target, at once.")
    slow_after: Duration | None = Field(
        None,
        description="A training, deployment or turn of the loop that takes longer is told.",
    )
