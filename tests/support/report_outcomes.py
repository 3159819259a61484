"""The training runs of `tests.support.report_facts`, with other outcomes."""

from __future__ import annotations

from evergreen.reporting.facts import Registration, TrainingFacts
from evergreen.training.results import Explanation, Importance, Interval

NOT_MEASURED = Interval(estimate=None, low=None, high=None)


def promoted_first(facts: TrainingFacts) -> TrainingFacts:
    """The same run where no champion was there before."""
    verdict = facts.verdict.model_copy(update={"rules": facts.verdict.rules[:2], "champion": None})
    return facts.model_copy(
        update={
            "champion": None,
            "previous": None,
            "verdict": verdict,
            "registration": Registration(status="promoted", version="1"),
        }
    )


def refused(facts: TrainingFacts) -> TrainingFacts:
    """The same run where the comparison with the champion failed."""
    failed = facts.verdict.rules[2].model_copy(
        update={
            "figure": -0.02,
            "low": -0.06,
            "high": 0.02,
            "passed": False,
            "reason": "The gain over champion 3 may be as low as −0.060; more than 0 is asked for.",
        }
    )
    verdict = facts.verdict.model_copy(
        update={
            "passed": False,
            "rules": (*facts.verdict.rules[:2], failed),
            "summary": "1 of 3 rules failed: better than champion 3.",
        }
    )
    return facts.model_copy(
        update={
            "verdict": verdict,
            "registration": Registration(status="refused", champion_before="3"),
        }
    )


def waiting(facts: TrainingFacts) -> TrainingFacts:
    """The same run where a person has to approve."""
    return facts.model_copy(
        update={
            "verdict": facts.verdict.model_copy(update={"approval": "manual"}),
            "registration": Registration(status="waiting", version="4", champion_before="3"),
        }
    )


def unmeasurable(facts: TrainingFacts) -> TrainingFacts:
    """The same run where the holdout told nothing."""
    challenger = facts.challenger.model_copy(
        update={
            "metrics": dict.fromkeys(facts.challenger.metrics, NOT_MEASURED)
            | {"accuracy": Interval(estimate=float("nan"), low=float("nan"), high=float("inf"))},
            "gain": NOT_MEASURED,
            "confusion": None,
            "calibration": (),
            "roc": (),
            "precision_recall": (),
            "residuals": None,
            "slices": tuple(
                each.model_copy(update={"metrics": dict.fromkeys(each.metrics, NOT_MEASURED)})
                for each in facts.challenger.slices
            ),
        }
    )
    rule = facts.verdict.rules[0].model_copy(
        update={
            "figure": None,
            "low": None,
            "high": None,
            "passed": False,
            "reason": "It could not be measured on the holdout, so it does not pass.",
        }
    )
    return refused(facts).model_copy(
        update={
            "challenger": challenger,
            "explanation": Explanation(
                metric=facts.search.metric,
                rows=0,
                columns=(
                    Importance(column="a", permutation=None, permutation_std=None, shap=None),
                ),
                shap_method=None,
                shap_reason="there are no rows",
            ),
            "verdict": facts.verdict.model_copy(
                update={"passed": False, "rules": (rule,), "summary": "Not measurable."}
            ),
        }
    )
