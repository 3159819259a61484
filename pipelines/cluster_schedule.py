"""``--cron``, ``--schedules``, ``--unschedule``: turns by the clock of the cluster.

Unlike ``--every`` and ``--schedule`` nothing stays in the foreground: a CronJob runs the command,
one pod per turn, until it is taken away.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from evergreen.config import UseCase
from evergreen.errors import ExitCode, InputError
from evergreen.schedule import cron_trigger, named_days
from evergreen.terminal import LiveView
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.pods import in_cluster
from stacks.cron_job import KEY_VARIABLE, PIPELINE, USE_CASE, ClusterSchedule, CronJobs
from stacks.train_image import train_image

if TYPE_CHECKING:
    from zenml.stack import Stack

LOCK = "schedules"
MEANWHILE = "two at once would change the same schedules."


def run_cron(options: argparse.Namespace) -> int:
    """Make or change the CronJob that takes turns of a use case; the command then ends.

    Raises
    ------
    InputError
        If the expression or the use case cannot be read, the stack runs no pods, there is no key
        with which a pod may log in to ZenML, or the cluster does not let us.
    UnreachableError
        If ZenML, registry or cluster do not answer, or the image cannot be built.
    """
    trigger = cron_trigger(options.cron, "--cron")
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.running(options, f"schedule-{use_case.name}", LOCK, MEANWHILE) as around:
        with around.view as view, session.started(view, options.stack):
            stack = stack_of_pods("--cron", "--schedule keeps this command running instead")
            schedule = schedule_of(use_case, options, stack, view)
            view.show("Make the CronJob")
            jobs = jobs_of(stack)
            jobs.apply(schedule)
        due = trigger.get_next_fire_time(None, datetime.now(UTC))
        told = {
            "name": schedule.name,
            "namespace": jobs.namespace,
            "pipeline": schedule.pipeline,
            "use_case": schedule.use_case,
            "cron": schedule.cron,
            "next": due.isoformat(timespec="seconds") if due else None,
            "image": schedule.image,
        }
        if options.json:
            around.out.write(json.dumps({**told, "exit_code": 0}, indent=2) + "\n")
        else:
            around.out.write(
                f"CronJob {told['name']!r} in {told['namespace']!r} runs {told['pipeline']} of "
                f"{told['use_case']!r}, next at {told['next']}.\n"
                "All of them: python run.py --schedules\n"
                f"Take it away: python run.py --unschedule --config {options.config}\n"
            )
    return ExitCode.DONE


def run_schedules(options: argparse.Namespace) -> int:
    """Print the CronJobs of ours in the active stack's namespace."""
    with session.running(options, "schedules", LOCK, MEANWHILE) as around:
        with around.view as view, session.started(view, options.stack):
            jobs = jobs_of(stack_of_pods("--schedules", "turns elsewhere run in the foreground"))
            found = [as_content(job) for job in jobs.list()]
        if options.json:
            content = {"namespace": jobs.namespace, "schedules": found, "exit_code": 0}
            around.out.write(json.dumps(content, indent=2) + "\n")
        else:
            show(found, jobs.namespace, Console(file=around.out, highlight=False))
    return ExitCode.DONE


def run_unschedule(options: argparse.Namespace) -> int:
    """Delete the CronJobs of one use case; a turn under way goes on to its end.

    Raises
    ------
    InputError
        If there are none.
    """
    name = load_use_case(Path(options.config), options.overrides).name
    with session.running(options, f"unschedule-{name}", LOCK, MEANWHILE) as around:
        with around.view as view, session.started(view, options.stack):
            jobs = jobs_of(stack_of_pods("--unschedule", "turns elsewhere end with Ctrl-C"))
            found = [each for each in map(as_content, jobs.list()) if each["use_case"] == name]
            if not found:
                raise InputError(
                    f"{name!r} has no CronJob in {jobs.namespace!r}: python run.py --schedules"
                )
            for each in found:
                jobs.delete(str(each["name"]))
        if options.json:
            content = {"namespace": jobs.namespace, "deleted": found, "exit_code": 0}
            around.out.write(json.dumps(content, indent=2) + "\n")
        else:
            names = ", ".join(repr(each["name"]) for each in found)
            around.out.write(f"Deleted from {jobs.namespace!r}: {names}.\n")
    return ExitCode.DONE


def stack_of_pods(option: str, instead: str) -> Stack:
    """Return the active stack; raise `InputError` where its steps are no pods."""
    from zenml.client import Client

    stack = Client().active_stack
    if not in_cluster(stack):
        raise InputError(
            f"{option} needs a stack whose steps are pods of a cluster, and {stack.name!r} is "
            f"none; {instead}. Or name one: --stack kubernetes"
        )
    return stack


def schedule_of(
    use_case: UseCase, options: argparse.Namespace, stack: Stack, view: LiveView
) -> ClusterSchedule:
    """Return what the options ask for, with the image of this code and a key to ZenML."""
    from zenml.client import Client

    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise InputError(
            f"--cron: a turn in the cluster logs in to ZenML by itself, with the key in "
            f"{KEY_VARIABLE}, which is not set. Make one: zenml service-account create evergreen"
        )
    return ClusterSchedule(
        pipeline=options.pipeline,
        use_case=use_case.name,
        cron=named_days(options.cron),
        document=use_case.model_dump_json(exclude_unset=True, by_alias=True, indent=2),
        stack=stack.name,
        image=train_image(stack, view.show),
        zenml_url=str(Client().zen_store.url),
        zenml_key=key,
    )


def jobs_of(stack: Stack) -> CronJobs:
    """Return the CronJobs in the namespace of a stack's pods."""
    orchestrator: Any = stack.orchestrator
    return CronJobs(orchestrator.get_kube_client(), orchestrator.config.kubernetes_namespace)


def as_content(job: dict[str, Any]) -> dict[str, Any]:
    """Return a CronJob for JSON: what it does, when, and when it last began."""
    labels = job["metadata"].get("labels", {})
    return {
        "name": job["metadata"]["name"],
        "pipeline": labels.get(PIPELINE),
        "use_case": labels.get(USE_CASE),
        "cron": job["spec"]["schedule"],
        "suspended": bool(job["spec"].get("suspend")),
        "last": job.get("status", {}).get("lastScheduleTime"),
        "under_way": len(job.get("status", {}).get("active") or ()),
    }


def show(found: list[dict[str, Any]], namespace: str, console: Console) -> None:
    """Print CronJobs as a table."""
    if not found:
        console.print(f"There is no CronJob of ours in {namespace!r}.")
        return
    table = Table(title=f"CronJobs in {namespace} (UTC)", title_justify="left")
    for title in ("name", "pipeline", "use case", "cron", "last", "under way"):
        table.add_column(title)
    for each in found:
        last = "suspended" if each["suspended"] else each["last"] or "never"
        names = (each["name"], each["pipeline"], each["use_case"], each["cron"])
        table.add_row(*map(str, names), last, str(each["under_way"]))
    console.print(table)
