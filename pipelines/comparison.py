"""``--compare``: champion and challenger by what came true of their predictions."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from evergreen.errors import ExitCode, InputError
from evergreen.monitoring.arm_comparison import compare_arms
from evergreen.monitoring.arm_rows import ArmLog
from evergreen.promotion.registration import CHALLENGER
from evergreen.promotion.registry import Registry
from evergreen.reporting.arms_report import arms_report
from evergreen.serving.options import ServerOptions
from evergreen.terminal_decisions import show_comparison
from pipelines.decision_session import deciding


def run_comparison(options: argparse.Namespace) -> int:
    """Compare the arms of the use case, write the page, and print the table.

    Raises
    ------
    InputError
        If no version was ever given traffic beside a champion.
    UnreachableError
        If registry, promotion log or prediction log do not answer.
    """
    with deciding(options) as session:
        use_case, registry = session.use_case, session.registry
        version = compared_version(registry, use_case.name)
        url = ServerOptions(settings=use_case.serving, home=session.home).log_url
        log = ArmLog(url, registry.contract(use_case.name, version))
        try:
            rows = log.rows(version)
        finally:
            log.close()
        comparison = compare_arms(rows, use_case)
        folder = session.home.run_reports(
            use_case.name, f"compare-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        page = folder / "arms.html"
        page.write_text(arms_report(comparison), encoding="utf-8")
        comparison = comparison.model_copy(update={"report": str(page)})
        if options.json:
            session.out.write(comparison.model_dump_json(indent=2) + "\n")
        else:
            show_comparison(comparison, session.out)
    return ExitCode.DONE


def compared_version(registry: Registry, name: str) -> str:
    """Return the challenger, or else the version that was given traffic last.

    Raises
    ------
    InputError
        If there is none.
    """
    challenger = registry.aliased(name, CHALLENGER)
    if challenger is not None:
        return challenger.version
    for entry in registry.log.entries(name):
        if entry.plan is not None:
            return entry.plan.challenger
    raise InputError(
        f"No version of {name!r} was given traffic beside a champion yet. While one waits as "
        "challenger: python run.py --traffic shadow (or challenger=10, or canary)"
    )
