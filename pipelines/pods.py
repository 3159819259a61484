"""What the cluster says of a run's pods, where ZenML knows only that a step is under way."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evergreen.errors import UnreachableError
from evergreen.terminal import LiveView
from pipelines.pod_logs import PodLogs

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse
    from zenml.stack import Stack

START: Final = "the run's own pod"
_ANSWER: Final = 10  # seconds for one answer of the cluster
_ITSELF: Final = 20.0  # seconds that a stopped run gets to end by itself
_STEP: Final = "zenml.io/step-name"  # of ZenML's jobs
_STARTING: Final = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Trouble:
    """Why a pod does not run, or why it ended: of which step, and in the cluster's words."""

    step: str
    reason: str


class Pods:
    """The pods of one run on a stack of Kubernetes, and the jobs that start them."""

    def __init__(self, stack: Stack, run: PipelineRunResponse) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api

        orchestrator: Any = stack.orchestrator
        client = orchestrator.get_kube_client()
        self._jobs = BatchV1Api(client)
        self._core = CoreV1Api(client)
        self._namespace: str = orchestrator.config.kubernetes_namespace
        self._of_run = {"label_selector": f"run_id={run.id}", "_request_timeout": _ANSWER}
        snapshot = run.snapshot
        self._token = orchestrator.get_token_secret_name(snapshot.id) if snapshot else None

    def logs(self, view: LiveView) -> PodLogs:
        """Return what follows their logs."""
        return PodLogs(self._core, self._namespace, view)

    def all(self) -> list[Any]:
        """Return the pods, the oldest first, as Kubernetes tells of them."""
        pods = self._core.list_namespaced_pod(self._namespace, **self._of_run).items
        return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)

    def go_on(self) -> bool:
        """Tell whether a job of the run has not ended."""
        return any(not _ended(job) for job in self._all_jobs())

    def waiting(self) -> list[Trouble]:
        """Return which pods wait for something, and what for: a quota, a node, an image."""
        pods = self.all()
        found = [
            Trouble(_step_of(pod), reason) for pod in pods if (reason := _why_pending(pod)) != ""
        ]
        for job in self._all_jobs():
            if not _ended(job) and not job.status.active:
                refusals = [event.message for event in self._warnings(job.metadata.name)]
                # A job whose pod failed waits for its next try; only a refused one has no pod.
                if refusals and not any(_owner(pod) == job.metadata.name for pod in pods):
                    found.append(Trouble(_step_of(job), _last_part(refusals[-1])))
        return found

    def ended(self) -> list[Trouble]:
        """Return which pods were ended for good, and why: another try would need as much memory."""
        return [
            Trouble(_step_of(pod), reason)
            for pod in self.all()
            if (reason := _why_ended(pod)) != ""
        ]

    def remove(self) -> None:
        """Delete the jobs that have not ended, with their pods, and the run's token.

        A run that was told to stop gets a moment for ending by itself, which tidies up best.
        """
        deadline = time.monotonic() + _ITSELF
        while self.go_on() and time.monotonic() < deadline:
            if not any(pod.status.phase == "Running" for pod in self.all()):
                break  # it never began, so nobody is there to end it
            time.sleep(1)
        for job in self._all_jobs():
            if not _ended(job):
                self._jobs.delete_namespaced_job(
                    job.metadata.name,
                    self._namespace,
                    propagation_policy="Background",
                    _request_timeout=_ANSWER,
                )
        self.forget_token()

    def forget_token(self) -> None:
        """Delete the secret with which the run's pods log in to ZenML, which leaves it there."""
        if self._token is not None:
            self._core.delete_namespaced_secret(
                self._token, self._namespace, _request_timeout=_ANSWER
            )

    def _all_jobs(self) -> list[Any]:
        return list(self._jobs.list_namespaced_job(self._namespace, **self._of_run).items)

    def _warnings(self, name: str) -> list[Any]:
        about = f"involvedObject.name={name},type=Warning"
        return list(
            self._core.list_namespaced_event(
                self._namespace, field_selector=about, _request_timeout=_ANSWER
            ).items
        )


def in_cluster(stack: Stack) -> bool:
    """Tell whether a stack's steps are pods of a cluster."""
    return stack.orchestrator.flavor.endswith("kubernetes")


def goes_on(stack: Stack, run: PipelineRunResponse) -> bool:
    """Tell whether a run has pods that have not ended; False on other stacks.

    Raises
    ------
    UnreachableError
        If the cluster does not answer.
    """
    if not in_cluster(stack):
        return False
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return Pods(stack, run).go_on()
    except (ApiException, HTTPError) as error:
        raise UnreachableError(
            f"The cluster does not say whether {run.name} goes on: {error}"
        ) from error


def forget_token(stack: Stack, run: PipelineRunResponse) -> None:
    """Take from the cluster what a run that has ended needed to log in."""
    if in_cluster(stack):
        with suppress(Exception):  # the run has succeeded all the same
            Pods(stack, run).forget_token()


def remove_pods(stack: Stack, run: PipelineRunResponse) -> None:
    """Remove what is left of a run that is to end; that the cluster is away is no further fault."""
    if in_cluster(stack):
        with suppress(Exception):
            Pods(stack, run).remove()


def _ended(job: Any) -> bool:
    conditions = job.status.conditions or ()
    return any(one.type in ("Complete", "Failed") and one.status == "True" for one in conditions)


def _step_of(resource: Any) -> str:
    """Return the step of a job or of a pod, which has it as a label."""
    metadata = resource.metadata
    found = (metadata.annotations or {}).get(_STEP) or (metadata.labels or {}).get("step_name")
    return str(found or START)


def _owner(pod: Any) -> str:
    return str((pod.metadata.labels or {}).get("job-name", ""))


def _why_pending(pod: Any) -> str:
    if pod.status.phase != "Pending":
        return ""
    for one in pod.status.conditions or ():
        if one.type == "PodScheduled" and one.status == "False":
            return str(one.message or one.reason or "")
    for status in pod.status.container_statuses or ():
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in (None, *_STARTING):
            return ": ".join(filter(None, (waiting.reason, waiting.message)))
    return ""


def _why_ended(pod: Any) -> str:
    for status in pod.status.container_statuses or ():
        ended = status.state.terminated
        if ended is not None and ended.reason == "OOMKilled":
            limit = (pod.spec.containers[0].resources.limits or {}).get("memory", "its node has")
            return f"it needs more memory than {limit}, its limit (OOMKilled)"
    return ""


def _last_part(message: str) -> str:
    """Return the reason of a pod's refusal: what follows the pod's name, which nobody knows."""
    return message.split("is forbidden:", 1)[-1].strip()
