"""What the cluster says of pods, in words for the person who waits."""

from __future__ import annotations

import pytest

pytest.importorskip("kubernetes")
from kubernetes import client as k8s

from pipelines.pods import _ended, _last_part, _step_of, _why_ended, _why_pending


def pod(phase: str, *, state: k8s.V1ContainerState | None = None, **status) -> k8s.V1Pod:
    """Return a pod of the step load_table, of one container with 64 MiB."""
    limits = k8s.V1ResourceRequirements(limits={"memory": "64Mi"})
    containers = [
        k8s.V1ContainerStatus(
            image="", image_id="", name="main", ready=False, restart_count=0, state=state
        )
    ]
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="pod", labels={"step_name": "load_table"}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="main", resources=limits)]),
        status=k8s.V1PodStatus(
            phase=phase, container_statuses=containers if state else None, **status
        ),
    )


def waiting(reason: str, message: str | None = None) -> k8s.V1ContainerState:
    return k8s.V1ContainerState(waiting=k8s.V1ContainerStateWaiting(reason=reason, message=message))


def terminated(reason: str) -> k8s.V1ContainerState:
    ended = k8s.V1ContainerStateTerminated(exit_code=137, reason=reason)
    return k8s.V1ContainerState(terminated=ended)


def test_what_a_pod_waits_for():
    no_room = k8s.V1PodCondition(
        type="PodScheduled", status="False", message="0/1 nodes are available: 1 Insufficient cpu."
    )
    assert "Insufficient cpu" in _why_pending(pod("Pending", conditions=[no_room]))
    image = waiting("ErrImagePull", "no such manifest")
    assert _why_pending(pod("Pending", state=image)) == "ErrImagePull: no such manifest"


def test_a_pod_that_is_about_to_run_waits_for_nothing():
    assert _why_pending(pod("Pending", state=waiting("ContainerCreating"))) == ""
    assert _why_pending(pod("Pending")) == ""
    assert _why_pending(pod("Running", state=waiting("CrashLoopBackOff"))) == ""


def test_only_want_of_memory_is_final():
    assert "more memory than 64Mi" in _why_ended(pod("Failed", state=terminated("OOMKilled")))
    assert _why_ended(pod("Failed", state=terminated("Error"))) == ""
    assert _why_ended(pod("Failed", reason="Evicted")) == ""
    assert _step_of(pod("Failed")) == "load_table"


def test_a_refusal_is_told_without_the_pods_random_name():
    said = 'Error creating: pods "1a-train-x" is forbidden: exceeded quota: full, used: pods=0'
    assert _last_part(said) == "exceeded quota: full, used: pods=0"


def test_a_job_has_ended_when_it_says_so():
    def job(*conditions):
        return k8s.V1Job(status=k8s.V1JobStatus(conditions=list(conditions) or None))

    def says(kind, status):
        return k8s.V1JobCondition(type=kind, status=status)

    assert _ended(job(says("Complete", "True")))
    assert _ended(job(says("Failed", "True")))
    assert not _ended(job())
    assert not _ended(job(says("Suspended", "True"), says("Failed", "False")))
