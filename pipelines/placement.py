"""Which steps run apart from the others in a cluster, and what each gets there.

Steps run in the pod of their pipeline, one after the other, which spares each of them the time that
a pod needs to begin. Those that run beside others, or get something of their own, run apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pipelines.pods import in_cluster

if TYPE_CHECKING:
    from zenml.config.retry_config import StepRetryConfig
    from zenml.stack import Stack
    from zenml.steps import BaseStep

    from evergreen.config import UseCase
    from evergreen.resources import ResourcesConfig, StepName, StepResources

TRIES: Final = 5  # of a step in a cluster, whose pod or whatever it needs may go away
PAUSE: Final = 10  # seconds until a step that shares its pod is tried again; doubled each time
DEPLOYER: Final = "deployer"  # account of deploy/kubernetes, which may create what the API needs
DEPLOYING: Final = ("deploy_everywhere", "smoke_test", "record_deployment", "verify_serving")
_PARTITION: Final = "score_partition_"
_PART: Final = "count_part_"
_ONE_MACHINE = ("local", "local_docker")  # orchestrators that take one step after the other


def runs_here(stack: Stack) -> bool:
    """Tell whether a stack's steps run in this process."""
    return stack.orchestrator.flavor == "local"


def spreads(use_case: UseCase) -> bool:
    """Tell whether every candidate is searched by a step of its own on the active stack."""
    from zenml.client import Client

    if use_case.training.spread == "auto":
        return Client().active_stack.orchestrator.flavor not in _ONE_MACHINE
    return use_case.training.spread == "pods"


def pod_settings(
    resources: ResourcesConfig, stack: Stack
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings that give steps their resources: of all, and of each by its name.

    Only Kubernetes' pods have settings of that kind; they come on top of the stack's own. Steps
    that deploy into the cluster also get an account that may.
    """
    if not in_cluster(stack):
        return {}, {}
    config = stack.orchestrator.config
    base = config.pod_settings.model_dump(exclude_unset=True) if config.pod_settings else {}
    deploys = _deploys_in_cluster(stack) and config.step_pod_service_account_name
    account = {"step_pod_service_account_name": DEPLOYER} if deploys else {}

    def settings(of: StepResources, more: dict[str, str]) -> dict[str, Any]:
        pod = of.pod_settings()
        chosen: dict[str, Any] = {"pod_settings": {**base, **pod}} if pod else {}
        return {"orchestrator": {**chosen, **more}} if chosen or more else {}

    names: list[Any] = [*resources.steps, *(DEPLOYING if account else ())]
    return settings(resources.default, {}), {
        name: settings(resources.of(name), account if name in DEPLOYING else {})
        for name in dict.fromkeys(names)
    }


def _deploys_in_cluster(stack: Stack) -> bool:
    parts = (stack.deployer, stack.model_deployer)
    return any(part is not None and part.flavor in ("kubernetes", "seldon") for part in parts)


def own_pod(resources: ResourcesConfig, stack: Stack) -> dict[str, Any]:
    """Return the settings that give a dynamic pipeline's own pod what every step gets."""
    common, _ = pod_settings(resources, stack)
    if not common:
        return {}
    orchestrator = stack.orchestrator
    own = orchestrator.config.orchestrator_pod_settings
    base = own.model_dump(exclude_unset=True) if own is not None else {}
    pod = {**base, **resources.default.pod_settings()}
    return {"orchestrator": {**common["orchestrator"], "orchestrator_pod_settings": pod}}


def resources_of(invocation: str) -> str:
    """Return the name under which ``resources.steps`` tells of a step."""
    if invocation.startswith(candidate_step("")):
        return "search_candidates"
    if invocation.startswith(_PART):
        return "observe_window"
    return "score_table" if invocation.startswith(_PARTITION) else invocation


def partition_steps(use_case: UseCase) -> tuple[str, ...]:
    """Return the names of the steps that score a part of a table each."""
    return _numbered(_PARTITION, use_case.batch.partitions)


def part_steps(use_case: UseCase) -> tuple[str, ...]:
    """Return the names of the steps that count a part of a window each."""
    return _numbered(_PART, use_case.monitoring.partitions)


def _numbered(prefix: str, of: int) -> tuple[str, ...]:
    """Return a name per part, from 1; none where there is but one part."""
    return tuple(f"{prefix}{number}" for number in range(1, of + 1)) if of > 1 else ()


def candidate_step(candidate: str) -> str:
    """Return the name of the step that searches a candidate alone."""
    return f"search_candidate_{candidate}"


def again(delay: int = 0) -> StepRetryConfig:
    """Return how often a step is tried, and after how many seconds."""
    from zenml.config.retry_config import StepRetryConfig

    return StepRetryConfig(max_retries=TRIES - 1, delay=delay, backoff=2)


class Placement:
    """Gives the steps that a pipeline calls their resources, and their pods.

    A step of which ``resources.steps`` tells runs in a pod of its own, and so does one that deploys
    into the cluster. Where there are no pods, steps stay what they are.
    """

    def __init__(self, use_case: UseCase) -> None:
        from zenml.client import Client

        stack = Client().active_stack
        self._pods = in_dynamic_pipeline() and in_cluster(stack)
        self._common, self._steps = pod_settings(use_case.resources, stack)
        self._account = getattr(stack.orchestrator.config, "step_pod_service_account_name", None)

    def __call__(self, step: BaseStep) -> BaseStep:
        """Return the step as it is to be called."""
        own = self._steps.get(step.name)
        return step if own is None or not self._pods else self._isolated(step, own)

    def apart(self, step: BaseStep, name: StepName) -> Callable[..., Any]:
        """Return how to call a step beside others, in a pod of its own; ``name``: its resources."""
        if not self._pods:
            return step
        return self._isolated(step, self._steps.get(name, self._common)).submit

    def _isolated(self, step: BaseStep, settings: dict[str, Any]) -> BaseStep:
        from zenml.enums import StepRuntime

        own = isolated_settings(settings, self._account)
        return step.with_options(
            settings=own or None,
            runtime=StepRuntime.ISOLATED,
            retry=again(),
        )


def isolated_settings(settings: dict[str, Any], account: str | None) -> dict[str, Any]:
    """Return the settings of a dynamic pipeline's step that has a pod of its own.

    ZenML gives such a pod the account of the run's own pod, which may do more than a step needs:
    here it gets the one that its own settings name, or else ``account``, that of the stack's steps.
    """
    own = settings.get("orchestrator", {})
    account = own.get("step_pod_service_account_name", account)
    if account:
        own = {**own, "service_account_name": account}
    return {"orchestrator": own} if own else {}


def in_dynamic_pipeline() -> bool:
    """Tell whether the caller is the function of a dynamic pipeline, which runs as it is called."""
    from zenml.execution.pipeline.dynamic.run_context import DynamicPipelineRunContext

    return DynamicPipelineRunContext.get() is not None
