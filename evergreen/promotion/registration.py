"""What the registry knows of a version, and what becomes of a challenger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from evergreen.values import Value

CHAMPION: Final = "champion"  # serves
CHALLENGER: Final = "challenger"  # waits for approval
PREVIOUS: Final = "previous"  # served before the champion

# Tags of a registered version.
TRAINING_KEY: Final = "evergreen.training_key"
DATA_FINGERPRINT: Final = "evergreen.data_fingerprint"
CANDIDATE: Final = "evergreen.candidate"
GIT_COMMIT: Final = "evergreen.git_commit"
METRICS: Final = "evergreen.metrics"
ZENML_RUN: Final = "evergreen.zenml_run"
JUDGED_AGAINST: Final = "evergreen.judged_against"
LOGGED_MODEL: Final = "evergreen.logged_model"
DECISION: Final = "evergreen.decision"  # set once the promotion log knows of the version

# Tag of a logged model: the name that it is to be registered under.
MEANT_FOR: Final = "evergreen.meant_for"


class RegisteredModel(Value):
    """One version in the registry. What a version of another maker lacks is None or empty."""

    name: str
    version: str
    aliases: tuple[str, ...]
    training_key: str | None
    data_fingerprint: str | None
    candidate: str | None
    git_commit: str | None
    metrics: Mapping[str, float | None]  # on the holdout of its own training run
    judged_against: str | None  # the version that was champion then
    decision: str | None  # promoted, waiting, approved, rejected, rolled_back
    run_id: str | None  # of MLflow
    zenml_run: str | None
    bundle_uri: str  # where its bundle lies
    registered: datetime


class Registration(Value):
    """What became of a challenger.

    ``promoted``: it is champion. ``waiting``: the rules passed, a person must approve.
    ``ramping``: the rules passed, and it is a canary now. ``refused``: a rule, or a person, said
    no. ``unchanged``: the champion is that very model.
    """

    status: Literal["promoted", "waiting", "ramping", "refused", "unchanged"]
    version: str | None  # of the challenger; None where it was not registered
    champion: str | None  # the version that serves now
    previous: str | None  # the version that served before
    run_id: str | None  # of MLflow
    message: str  # one sentence
