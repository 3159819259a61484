"""Do servers answer as the model did at training, and as one another?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from evergreen.data.contract import Contract
from evergreen.deployment.servers import Answers, Columns, GoldenRows
from evergreen.deployment.values import Check
from evergreen.promotion.golden import PREDICTION, PROBABILITY, Replay, compare_columns


def check(
    title: str, url: str, golden: GoldenRows, found: Answers, wanted: str, served: str | None
) -> Check:
    """Compare a server's answers with those at training, and its version with the wanted one.

    ``served`` is the version that the server is known to have loaded; what the answers themselves
    say goes before it. An unknown version does not pass.
    """
    replay = compare_with(golden.columns, found.columns, golden.contract)
    version = found.version or served
    passed = replay.passed and version == wanted
    message = replay.message
    if version != wanted:
        shown = "an unknown version" if version is None else f"version {version}"
        message = f"it serves {shown}, not version {wanted}"
    shares = gives_probabilities(found.columns)
    measured = shares or golden.contract.task == "regression"
    return Check(
        title=title,
        url=url,
        version=version,
        passed=passed,
        rows=replay.rows,
        probabilities=shares,
        difference=replay.difference if measured else None,
        message=message,
    )


def compare_with(golden: Columns, found: Columns, contract: Contract) -> Replay:
    """Compare answers with golden ones; labels alone where ``found`` has no probabilities.

    The golden probabilities then only say which labels were equally probable.
    """
    if contract.task == "classification" and not gives_probabilities(found):
        shares = {name: golden[name] for name in golden if name.startswith(PROBABILITY)}
        found = {**found, **shares}
    return compare_columns(golden, found, contract)


def compare_servers(answers: Mapping[str, Columns], golden: GoldenRows) -> dict[str, Replay]:
    """Compare every two servers' answers with each other; by the names of both."""
    found = {}
    for (one, first), (other, second) in combinations(answers.items(), 2):
        fuller, barer = (first, second) if gives_probabilities(first) else (second, first)
        if not gives_probabilities(fuller):  # neither has them: ties are known from training
            fuller = {**golden.columns, **fuller}
        found[f"{one} and {other}"] = compare_with(fuller, barer, golden.contract)
    return found


def gives_probabilities(columns: Columns) -> bool:
    """Tell whether answers have probabilities beside the predictions."""
    return any(name.startswith(PROBABILITY) for name in columns if name != PREDICTION)
