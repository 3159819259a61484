"""What is deployed, where it serves, and how it was checked."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from evergreen.promotion.golden import Replay
from evergreen.values import Value

Kind = Literal["model_deployer", "deployer"]  # ZenML's kinds of serving components
Condition = Literal["absent", "running", "starting", "stale", "rendered"]


class Release(Value):
    """A verified version that is to be served."""

    name: str
    version: str
    folder: str  # of its bundle, on the machine that verified it
    source: str = ""  # where the registry has it; steps on other machines fetch it anew
    runtime: Literal["native", "onnx"]
    replay: Replay  # of its golden rows, offline


class ServerState(Value):
    """What one target serves, as it was found.

    ``stale``: there is a record of a server, and no such server (its process is gone, or it does
    not answer). ``rendered``: what should serve is written down, and nobody acts on it.
    """

    kind: Kind
    flavor: str
    component: str  # the stack component's name
    title: str
    condition: Condition
    url: str | None = None
    version: str | None = None  # that it answers with
    port: int | None = None
    process: int | None = None
    ready: int | None = None  # pods that answer, where there are pods
    wanted: int | None = None  # pods that there should be
    reference: str | None = None  # how ZenML knows the server
    detail: str | None = None  # what is wrong with it
    log: str | None = None

    @property
    def serves(self) -> bool:
        """Whether it answers."""
        return self.condition == "running"


class Deployment(Value):
    """What became of one target."""

    before: ServerState
    after: ServerState
    changed: bool
    note: str | None = None


class Check(Value):
    """How a server's answers to the golden rows compare with those at training."""

    title: str
    url: str
    version: str | None
    passed: bool
    rows: int
    probabilities: bool  # whether it gives them; else labels alone were compared
    difference: float | None  # the greatest; None for labels, and where it could not be measured
    message: str


class DeploymentReport(Value):
    """What a run of the pipeline ended with."""

    release: Release
    former: str | None  # the version that was deployed before
    deployments: tuple[Deployment, ...]
    checks: tuple[Check, ...]
    agreement: str
    notes: tuple[str, ...] = ()
    recorded: datetime | None = None  # None where nothing changed

    @property
    def changed(self) -> bool:
        """Whether anything is otherwise than before: a server, or what the log says is deployed."""
        return self.recorded is not None or any(each.changed for each in self.deployments)


class ServingCheck(Value):
    """Whether everything that serves answers as the champion does."""

    status: Literal["verified", "failed", "nothing_serves"]
    version: str  # of the champion
    checks: tuple[Check, ...] = ()
    message: str
