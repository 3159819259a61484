"""What ZenML's server has written down of a run whose steps are elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from evergreen import errors
from evergreen.errors import EvergreenError, NotServingError, UnreachableError

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse

POLL: Final = 2.0  # seconds between two looks at a run: each costs a busy server three requests
_CLIENTS: Final = (
    *("aiobotocore.", "boto3.", "botocore.", "httpx.", "mlflow.", "psycopg.", "requests."),
    *("s3fs.", "sqlalchemy.", "urllib3."),
)
# ZenML's own is raised in a step whose pod is told to end.
_PASSING: Final = ("ConnectionError", "OSError", "RunInterruptedException", "TimeoutError")
_LAST_RAISED = re.compile(
    r"^evergreen\.errors\.(\w+): (.*?)(?=\n\n(?:The above exception|During handling)|\Z)",
    re.MULTILINE | re.DOTALL,
)


class StepError(RuntimeError):
    """A step failed on another machine, for a reason that is no `EvergreenError`."""


def find_run(name: str) -> PipelineRunResponse | None:
    """Return a run by its name; None where ZenML does not know it (yet)."""
    from zenml.client import Client

    found = Client().list_pipeline_runs(name=name, size=1)
    return Client().get_pipeline_run(found.items[0].id) if found.items else None


def title_of(step: str) -> str:
    """Return a step's name as a person writes it."""
    return step.replace("_", " ").capitalize()


def steps_of(run: PipelineRunResponse, *, hydrate: bool = True) -> list[StepRunResponse]:
    """Return a run's steps as they began; ``hydrate`` with what they raised."""
    from zenml.client import Client

    found = Client().list_run_steps(
        pipeline_run_id=run.id,
        sort_by="asc:created",
        size=200,
        exclude_retried=True,
        hydrate=hydrate,
    )
    return list(found)


def has_failed(step: StepRunResponse) -> bool:
    """Tell whether a step failed, for good or so that it is tried again."""
    return step.status.is_failed or step.status.value == "retrying"


def is_worth_another_try(step: StepRunResponse) -> bool:
    """Tell whether a failed step may succeed the next time: something it needs was away.

    That is what it raised is `UnreachableError` (but for a server that ended by itself), or an
    error of a client or of the network, or that it ended without a word.
    """
    told = step.exception_info
    if told is None:
        return True
    known = raised_by(step)
    if known is not None:
        return isinstance(known, UnreachableError) and not isinstance(known, NotServingError)
    source = told.source or ""
    return source.startswith(_CLIENTS) or source.rpartition(".")[2] in _PASSING


def raised_by(step: StepRunResponse) -> EvergreenError | None:
    """Return the product's own error behind a step's failure, if there is one."""
    told = step.exception_info
    if told is None:
        return None
    kind = (told.source or "").rpartition(".")[2]
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, EvergreenError):
        return found(told.message or "")
    chain = list(_LAST_RAISED.finditer(told.traceback))
    if not chain:
        return None
    found = getattr(errors, chain[-1][1], None)
    if isinstance(found, type) and issubclass(found, EvergreenError):
        return found(chain[-1][2].strip())
    return None
