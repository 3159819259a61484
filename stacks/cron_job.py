"""A CronJob that takes turns by a cluster's own clock: its manifest, and the API server's word.

The pod is a client like any other: it runs ``run.py`` as a person would, which starts the run's
pods. So locks, leases, alerts and exit codes are those of the command.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evergreen.deployment.cluster_manifest import HOME, USER
from evergreen.errors import InputError, UnreachableError
from stacks.cluster_answers import refusal
from stacks.train_image import IMAGE_VARIABLE

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

ACCOUNT: Final = "client"  # of deploy/kubernetes: it may submit runs
VERSIONS: Final = ("v1", "v1beta1")  # before Kubernetes 1.21 only the latter
LONGEST_NAME: Final = 52  # of a CronJob: its jobs' names are 11 characters longer
OURS: Final = "app.kubernetes.io/managed-by=evergreen"
USE_CASE: Final = "evergreen/use-case"
PIPELINE: Final = "evergreen/pipeline"
FILES: Final = "/etc/evergreen/use-case"
KEY_VARIABLE: Final = "ZENML_STORE_API_KEY"  # of ZenML's client
_ANSWER: Final = 30  # seconds for one answer of the cluster


@dataclass(frozen=True)
class ClusterSchedule:
    """What is to be done when, and with what.

    ``cron`` is in UTC, ``document`` the use case as YAML or JSON, ``image`` by digest.
    """

    pipeline: str
    use_case: str
    cron: str
    document: str
    stack: str
    image: str
    zenml_url: str
    zenml_key: str

    @property
    def name(self) -> str:
        """The name of the CronJob and of its secret."""
        name = f"{self.pipeline}-{self.use_case.replace('_', '-')}"
        if len(name) <= LONGEST_NAME:
            return name
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{name[: LONGEST_NAME - 9]}-{mark}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which it is found."""
        return {
            "app.kubernetes.io/part-of": "evergreen",
            **dict([OURS.split("=")]),
            USE_CASE: self.use_case,
            PIPELINE: self.pipeline,
        }


def secret(schedule: ClusterSchedule) -> dict[str, Any]:
    """Return the secret that holds the use case and the key to ZenML's server."""
    data = {KEY_VARIABLE: schedule.zenml_key, f"{schedule.use_case}.yaml": schedule.document}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": schedule.name, "labels": schedule.labels},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


def cron_job(schedule: ClusterSchedule, version: str = "v1") -> dict[str, Any]:
    """Return the CronJob; one turn at a time, and none is made up for after a long outage."""
    spec: dict[str, Any] = {
        "schedule": schedule.cron,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 300,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": schedule.labels},
            "spec": {
                # The next turn takes up what this one leaves.
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": 7 * 86400,
                "template": {"metadata": {"labels": schedule.labels}, "spec": _pod(schedule)},
            },
        },
    }
    if version == "v1":
        spec["timeZone"] = "Etc/UTC"
    return {
        "apiVersion": f"batch/{version}",
        "kind": "CronJob",
        "metadata": {"name": schedule.name, "labels": schedule.labels},
        "spec": spec,
    }


def _pod(schedule: ClusterSchedule) -> dict[str, Any]:
    file = f"{FILES}/{schedule.use_case}.yaml"
    words = ("--pipeline", schedule.pipeline, "--config", file, "--stack", schedule.stack)
    return {
        "restartPolicy": "Never",
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "turn",
                "image": schedule.image,
                "command": ["python", "run.py", *words, "--verbose"],
                "env": [
                    {"name": "ZENML_STORE_URL", "value": schedule.zenml_url},
                    {
                        "name": KEY_VARIABLE,
                        "valueFrom": {"secretKeyRef": {"name": schedule.name, "key": KEY_VARIABLE}},
                    },
                    {"name": IMAGE_VARIABLE, "value": schedule.image},
                ],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                    "limits": {"memory": "2Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "use-case", "mountPath": FILES, "readOnly": True},
                    {"name": "state", "mountPath": HOME},
                ],
            }
        ],
        "volumes": [
            {
                "name": "use-case",
                "secret": {
                    "secretName": schedule.name,
                    "items": [
                        {
                            "key": f"{schedule.use_case}.yaml",
                            "path": f"{schedule.use_case}.yaml",
                        }
                    ],
                },
            },
            {"name": "state", "emptyDir": {}},
        ],
    }


class CronJobs:
    """The CronJobs of ours in one namespace of a cluster.

    Raises (all methods)
    --------------------
    InputError
        If the cluster does not let us, or refuses what it is told.
    UnreachableError
        If it does not answer.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self._batch = CustomObjectsApi(client)  # takes any version of a built-in kind, too
        self._core = CoreV1Api(client)
        self.namespace = namespace

    def apply(self, schedule: ClusterSchedule) -> None:
        """Make it, or change what is there to what it is to be."""
        with _told(f"make the CronJob {schedule.name!r}", self.namespace):
            self._apply_secret(secret(schedule))
            version, found = self._list()
            body = cron_job(schedule, version)
            place = ("batch", version, self.namespace, "cronjobs")
            if schedule.name not in {job["metadata"]["name"] for job in found}:
                self._batch.create_namespaced_custom_object(*place, body, _request_timeout=_ANSWER)
            else:
                self._batch.patch_namespaced_custom_object(
                    *place, schedule.name, body, _request_timeout=_ANSWER
                )

    def list(self) -> list[dict[str, Any]]:
        """Return what there is, as Kubernetes tells it."""
        with _told("list the CronJobs", self.namespace):
            return self._list()[1]

    def delete(self, name: str) -> None:
        """Delete one with its secret; a turn that is under way goes on to its end."""
        from kubernetes.client.exceptions import ApiException

        with _told(f"delete the CronJob {name!r}", self.namespace):
            self._batch.delete_namespaced_custom_object(
                "batch",
                self._list()[0],
                self.namespace,
                "cronjobs",
                name,
                propagation_policy="Orphan",
                _request_timeout=_ANSWER,
            )
            try:
                self._core.delete_namespaced_secret(name, self.namespace, _request_timeout=_ANSWER)
            except ApiException as error:
                if error.status != 404:
                    raise

    def _list(self) -> tuple[str, list[dict[str, Any]]]:
        """Return the version of the API that knows CronJobs, and ours."""
        from kubernetes.client.exceptions import ApiException

        for version in VERSIONS:
            try:
                told = self._batch.list_namespaced_custom_object(
                    "batch",
                    version,
                    self.namespace,
                    "cronjobs",
                    label_selector=OURS,
                    _request_timeout=_ANSWER,
                )
            except ApiException as error:
                if error.status != 404 or version == VERSIONS[-1]:
                    raise
            else:
                return version, list(told["items"])
        raise AssertionError("unreachable")

    def _apply_secret(self, body: dict[str, Any]) -> None:
        from kubernetes.client.exceptions import ApiException

        name = body["metadata"]["name"]
        try:
            self._core.create_namespaced_secret(self.namespace, body, _request_timeout=_ANSWER)
        except ApiException as error:
            if error.status != 409:
                raise
            self._core.patch_namespaced_secret(name, self.namespace, body, _request_timeout=_ANSWER)


@contextmanager
def _told(what: str, namespace: str) -> Iterator[None]:
    """Tell what the cluster says as one message."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError as error:
        raise UnreachableError(f"The cluster does not answer: {error}") from error
    except ApiException as error:
        text = f"The cluster refused to {what} in {namespace!r}: {refusal(error)}"
        if error.status is not None and 400 <= error.status < 500:
            raise InputError(text) from error
        raise UnreachableError(text) from error
