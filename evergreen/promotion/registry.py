"""The registry: versions of models in MLflow, and the aliases that say which one serves.

Whatever moves an alias goes through the promotion log: the intent, then the aliases, then what
became of it. Each part can be done twice without harm, so after a crash `Registry.reconcile` does
the rest. A version is created last, when its files are complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from evergreen.errors import InputError, RefusedError
from evergreen.paths import Home
from evergreen.promotion import plan_tag, versions
from evergreen.promotion.bundle import Bundle
from evergreen.promotion.decision_lock import decision_lock
from evergreen.promotion.decisions import carry_out, is_overtaken, is_recent_elsewhere, void
from evergreen.promotion.model_store import ModelStore
from evergreen.promotion.promotion_log import Entry, Intended, PromotionLog
from evergreen.promotion.registration import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    RegisteredModel,
    Registration,
)
from evergreen.promotion.traffic_wording import waiting_message
from evergreen.promotion.verdict import Verdict
from evergreen.serving.traffic import TrafficPlan

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RegisteredModel", "Registration", "Registry"]

InForce = TrafficPlan | None | Literal["any"]  # the traffic plan that a decision rests on
ANY: Final = "any"


class Registry(ModelStore):
    """The registered models of one MLflow store, and the promotion log that belongs to it.

    Every method raises `UnreachableError`, naming the address, where store or log do not answer.

    Parameters
    ----------
    tracking_uri
        MLflow's address: ``http(s)://``, ``sqlite:///`` or ``postgresql+psycopg://``.
    promotion_log
        Where decisions are written.
    locks
        Folder of the lock files that keep decisions on this machine apart (default: the home's).
    """

    def __init__(
        self, tracking_uri: str, promotion_log: PromotionLog, locks: Path | None = None
    ) -> None:
        super().__init__(tracking_uri)
        self.log = promotion_log
        self.locks = Home.locate().locks if locks is None else locks

    def register(
        self, name: str, bundle: Bundle, run_id: str, tags: Mapping[str, str] | None = None
    ) -> str:
        """Store a bundle as a new version of a model, without any alias; return its number.

        It belongs to the MLflow run ``run_id``. Until `promote` or `wait_for_approval` decides on
        it, `reconcile` regards it as left over and removes it.
        """
        with self.opened() as client:
            return versions.create(client, name, bundle, run_id, dict(tags or {}))

    def promote(self, name: str, version: str, verdict: Verdict, who: str) -> Registration:
        """Make a version champion; the former champion becomes ``previous``.

        Raises
        ------
        RefusedError
            If the verdict is no, or another version became champion since the verdict.
        InputError
            If there is no such version.
        """
        former = self._decide(name, version, "promoted", who, verdict)
        message = f"Version {version} of {name!r} is champion now"
        message += f", after version {former}." if former else ", the first one."
        return self._registration(name, "promoted", version, message)

    def wait_for_approval(
        self,
        name: str,
        version: str,
        verdict: Verdict,
        who: str,
        plan: TrafficPlan | None = None,
    ) -> Registration:
        """Let a version that passed the gate wait, as ``challenger``, with a share of the traffic.

        It waits for a person's word, or a canary's end. A version that waited before is
        superseded, and so is its plan. Raises as `promote` does.
        """
        self._decide(name, version, "waiting", who, verdict, plan=plan)
        status = "ramping" if plan is not None and plan.mode == "canary" else "waiting"
        return self._registration(name, status, version, waiting_message(name, version, plan))

    def refuse(
        self,
        name: str,
        verdict: Verdict,
        who: str,
        *,
        figures: Mapping[str, float | None] | None = None,
        run_id: str | None = None,
        zenml_run: str | None = None,
    ) -> Registration:
        """Write down that the gate said no to a challenger, which is not registered."""
        champion = self.champion(name)
        self.log.record(
            Entry(
                who=who,
                use_case=name,
                action="refused",
                from_version=champion.version if champion else None,
                verdict=verdict,
                figures=figures or {},
                zenml_run=zenml_run,
                mlflow_run=run_id,
                note=verdict.summary,
            )
        )
        serving = f"Version {champion.version} stays champion." if champion else "None is champion."
        message = f"The gate refused the challenger: {verdict.summary} {serving}"
        answer = self._registration(name, "refused", None, message)
        return answer.model_copy(update={"run_id": run_id})

    def approve(
        self, name: str, who: str, reason: str = "", *, plan: InForce = ANY
    ) -> Registration:
        """Make the version that waits champion, if ``plan`` is in force.

        Raises
        ------
        InputError
            If none waits, or there is no such model.
        RefusedError
            If another version became champion since the one that waits was judged, or another
            plan is in force.
        """
        version = self._waiting(name).version
        verdict = self._verdict(name, version)
        former = self._decide(name, version, "approved", who, verdict, reason, expected=plan)
        after = f", after version {former}" if former else ""
        message = f"{who} approved version {version} of {name!r}: it is champion now{after}."
        return self._registration(name, "promoted", version, message)

    def reject(self, name: str, who: str, reason: str = "", *, plan: InForce = ANY) -> Registration:
        """Turn down the version that waits, if ``plan`` is in force; the champion stays.

        Raises
        ------
        InputError
            If none waits, or there is no such model.
        RefusedError
            If another plan is in force.
        """
        version = self._waiting(name).version
        self._decide(name, version, "rejected", who, None, reason, expected=plan)
        message = f"{who} rejected version {version} of {name!r}" + (
            f": {reason}" if reason else ""
        )
        return self._registration(name, "refused", version, message)

    def change_traffic(
        self,
        name: str,
        plan: TrafficPlan | None,
        who: str,
        note: str = "",
        *,
        expected: InForce,
        stepped: bool = False,
    ) -> None:
        """Put a plan for the challenger in force, if the ``expected`` one is (compare and set).

        None ends the plan in force. ``stepped`` records that a canary went a step up.

        Raises
        ------
        InputError
            If no version waits as challenger.
        RefusedError
            If another plan is in force than the expected one, or the plan is for another version.
        """
        version = self._waiting(name).version
        if plan is not None and plan.challenger != version:
            raise RefusedError(
                f"The traffic plan is for version {plan.challenger} of {name!r}, but version "
                f"{version} is challenger now."
            )
        intended: Intended = "stepped" if stepped else "traffic"
        self._decide(name, version, intended, who, None, note, plan=plan, expected=expected)

    def roll_back(
        self, name: str, who: str, reason: str = "", to: str | None = None
    ) -> Registration:
        """Make the version that served before champion again, or the one that ``to`` names.

        `evergreen.promotion.rollback` is what looks before it leaps.

        Raises
        ------
        InputError
            If there is no previous version, or no such version.
        """
        target = self.version(name, to) if to else self.aliased(name, PREVIOUS)
        if target is None:
            raise InputError(f"{name!r} has no previous version to roll back to.")
        former = self._decide(name, target.version, "rolled_back", who, None, reason)
        message = f"Version {target.version} of {name!r} is champion again, after {former}."
        return self._registration(name, "promoted", target.version, message)

    def reconcile(self, name: str) -> tuple[str, ...]:
        """Finish or void what a crash left, so that log and aliases agree; say what was done.

        An open intent is carried out where the champion is still the one that it knew, and voided
        where not. Versions and uploads that no decision knows are removed. The caller makes sure
        that no other process registers versions of this model meanwhile.
        """
        done = self.resume(name)
        with decision_lock(self.locks, name), self.opened() as client:
            spared = {str(intent.to_version) for intent in self.log.open_intents(name)}
            return (*done, *versions.remove_leftovers(client, name, spared))

    def resume(self, name: str) -> tuple[str, ...]:
        """Do the first half of `reconcile`: finish or void decisions that a crash cut short.

        Safe also while another process registers versions.
        """
        with decision_lock(self.locks, name), self.opened() as client:
            done = [self._resolve(client, intent) for intent in self.log.open_intents(name)]
        return tuple(text for text in done if text)

    # --- inside ---------------------------------------------------------------------------

    def _decide(
        self,
        name: str,
        version: str,
        intended: Intended,
        who: str,
        verdict: Verdict | None,
        note: str = "",
        *,
        plan: TrafficPlan | None = None,
        expected: InForce = ANY,
    ) -> str | None:
        """Write the intent, carry it out, and return the version that was champion before."""
        if verdict is not None and not verdict.passed:
            raise RefusedError(f"Version {version} of {name!r} did not pass the gate.")
        with decision_lock(self.locks, name), self.opened() as client:
            # No decision may come between what is read here and the intent.
            seen = self.log.newest(name)
            model = self.required(client, name, version)
            champion = versions.aliases(client, name).get(CHAMPION)
            if expected != ANY and plan_tag.in_force(client, name) != expected:
                raise RefusedError(
                    f"The traffic plan of {name!r} was changed meanwhile; nothing was done."
                )
            if verdict is not None and verdict.champion != champion:
                raise RefusedError(_overtaken(name, version, verdict.champion, champion))
            intent = self.log.record(
                Entry(
                    who=who,
                    use_case=name,
                    action="intent",
                    intended=intended,
                    from_version=champion,
                    to_version=version,
                    verdict=verdict,
                    figures=model.metrics,
                    zenml_run=model.zenml_run,
                    mlflow_run=model.run_id,
                    note=note or None,
                    plan=plan,
                ),
                seen=seen,
            )
            carry_out(client, self.log, intent)
            return champion

    def _resolve(self, client: MlflowClient, intent: Entry) -> str | None:
        what = f"the decision of {intent.who} on version {intent.to_version}"
        if is_recent_elsewhere(intent):
            return None
        if is_overtaken(client, intent):
            void(self.log, intent, "another champion had come meanwhile")
            return f"Voided {what}: another champion had come meanwhile."
        carry_out(client, self.log, intent, "finished after an interruption")
        return f"Finished {what}, which was interrupted: {intent.intended}."

    def _waiting(self, name: str) -> RegisteredModel:
        waiting = self.aliased(name, CHALLENGER)
        if waiting is None:
            self.require_known(name)
            raise InputError(
                f"No version of {name!r} waits for approval. One does after a training with "
                "gate.approval: manual (or canary) that passes the gate."
            )
        return waiting

    def _verdict(self, name: str, version: str) -> Verdict:
        for entry in self.log.entries(name):
            if entry.action == "waiting" and entry.to_version == version and entry.verdict:
                return entry.verdict
        raise RefusedError(
            f"The promotion log holds no verdict on version {version} of {name!r}; train again."
        )

    def _registration(
        self, name: str, status: Any, version: str | None, message: str
    ) -> Registration:
        with self.opened() as client:
            known = versions.aliases(client, name)
            run = None if version is None else versions.get(client, name, version)
        return Registration(
            status=status,
            version=version,
            champion=known.get(CHAMPION),
            previous=known.get(PREVIOUS),
            run_id=run.run_id if run else None,
            message=message,
        )


def _overtaken(name: str, version: str, judged: str | None, champion: str | None) -> str:
    return (
        f"Version {version} of {name!r} was judged against "
        f"{f'champion {judged}' if judged else 'no champion'}, but "
        f"{f'version {champion} is champion now' if champion else 'there is none now'}. "
        "Train again."
    )
