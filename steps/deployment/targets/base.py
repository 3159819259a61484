"""What a place to deploy to can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evergreen.config import UseCase
from evergreen.deployment.deployment_log import DeploymentLog
from evergreen.deployment.servers import Answers, GoldenRows
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.paths import Home


@dataclass(frozen=True)
class Place:
    """What a target needs to know: the model's name, and where its state is.

    ``deployed`` is the version that is deployed according to the deployment log.
    """

    name: str
    home: Home
    deployed: str | None = None

    def mark(self, which: str) -> str:
        """Return the mark that processes of this deployment carry."""
        return f"{self.home.root}|{self.name}, {which}"


class Target(Protocol):
    """One serving component of a stack, for one model.

    A deployment goes `prepare`, `deploy` where that is needed, `ask`, and then `settle` or
    `restore`. Wherever it is cut off, what served before `settle` goes on serving.
    """

    title: str

    def status(self) -> ServerState:
        """Return what is served, and where; nothing is changed."""

    def prepare(self, release: Release, use_case: UseCase) -> str | None:
        """Return why the release must be deployed; None where a server answers with it already.

        Nothing is changed.

        Raises
        ------
        UnreachableError
            If a port is taken, or a server waits for a registry that does not answer.
        InputError
            If the component cannot serve it.
        """

    def deploy(self, release: Release, use_case: UseCase) -> Deployment:
        """Let a server answer with the release.

        Raises
        ------
        UnreachableError
            If the server does not come up; what it had begun is gone then.
        """

    def ask(self, state: ServerState, golden: GoldenRows) -> Answers:
        """Predict golden rows over the server's own protocol.

        Raises
        ------
        UnreachableError
            If it does not answer.
        RefusedError
            If it refuses them.
        """

    def settle(self, deployment: Deployment) -> None:
        """Take away what the deployment replaced."""

    def restore(self, deployment: Deployment) -> ServerState:
        """Take the deployment back and return what serves then."""

    def remove(self) -> bool:
        """Stop what is served, and forget it; tell whether there was anything."""


def open_log() -> DeploymentLog:
    """Return the deployment log of this home."""
    return DeploymentLog(Home.locate().database_url)
