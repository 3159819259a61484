"""The registry: versions of models in MLflow, and the aliases that say which one serves.

Whatever moves an alias goes through the promotion log: the intent, then the aliases, then what
became of it. Each part can be done twice without harm, so after a crash `Registry.reconcile` does
the rest. A version is created last, when its files are complete.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from evergreen.data.contract import Contract
from evergreen.errors import InputError, RefusedError
from evergreen.paths import Home
from evergreen.promotion import plan_tag, versions
from evergreen.promotion.bundle import Bundle, open_bundle, read_value
from evergreen.promotion.decision_lock import decision_lock
from evergreen.promotion.decisions import carry_out, is_overtaken, is_recent_elsewhere, void
from evergreen.promotion.promotion_log import Entry, Intended, PromotionLog
from evergreen.promotion.registration import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    RegisteredModel,
    Registration,
)
from evergreen.promotion.store import mlflow_errors, open_client, require_reachable, shown
from evergreen.promotion.traffic_wording import waiting_message
from evergreen.promotion.verdict import Verdict
from evergreen.serving.traffic import TrafficPlan
from evergreen.use_case.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RegisteredModel", "Registration", "Registry"]

InForce = TrafficPlan | None | Literal["any"]  # the traffic plan that a decision rests on
ANY: Final = "any"


class Registry:
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
        self.tracking_uri = tracking_uri
        self.log = promotion_log
        self.locks = Home.locate().locks if locks is None else locks

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        return open_client(self.tracking_uri)

    def names(self) -> list[str]:
        """Return the names of all registered models."""
        with self._store() as client:
            return versions.names(client)

    def champion(self, name: str) -> RegisteredModel | None:
        """Return the version that serves, or None where there is none yet."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> RegisteredModel | None:
        """Return the version that an alias points to, or None."""
        with self._store() as client:
            version = versions.aliases(client, name).get(alias)
            return None if version is None else versions.get(client, name, version)

    def version(self, name: str, version: str | int) -> RegisteredModel:
        """Return one version.

        Raises
        ------
        InputError
            If there is no such version.
        """
        with self._store() as client:
            return self._required(client, name, str(version))

    def fetch_bundle(self, name: str, version: str | int, folder: Path | str) -> Bundle:
        """Download the bundle of a version (or alias) into ``folder``, and verify it.

        Raises
        ------
        InputError
            If there is no such version or alias, or its bundle is damaged or missing.
        UnreachableError
            If its files cannot be fetched.
        """
        target = Path(folder).absolute()
        with self._store() as client:
            number = versions.aliases(client, name).get(str(version), str(version))
            model = self._required(client, name, number)
            if target.exists():
                raise InputError(f"Cannot fetch a bundle into {target}: it exists already.")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                fetched = versions.download(self.tracking_uri, model, temporary)
                title = f"The bundle of version {number} of {name!r} ({model.bundle_uri})"
                open_bundle(fetched, title)
                fetched.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return open_bundle(target)

    def contract(self, name: str, version: str) -> Contract:
        """Return the contract of a version. Raises as `fetch_bundle` does."""
        with self._store() as client, tempfile.TemporaryDirectory() as folder:
            model = self._required(client, name, version)
            file = versions.download_contract(self.tracking_uri, model, Path(folder))
            return read_value(Contract, file)

    def register(
        self, name: str, bundle: Bundle, run_id: str, tags: Mapping[str, str] | None = None
    ) -> str:
        """Store a bundle as a new version of a model, without any alias; return its number.

        It belongs to the MLflow run ``run_id``. Until `promote` or `wait_for_approval` decides on
        it, `reconcile` regards it as left over and removes it.
        """
        with self._store() as client:
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

    def traffic(self, name: str) -> TrafficPlan | None:
        """Return the traffic plan in force; one of a version that is not challenger is none.

        Raises
        ------
        InputError
            If what is written down is no plan.
        """
        with self._store() as client:
            return plan_tag.in_force(client, name)

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
        with decision_lock(self.locks, name), self._store() as client:
            spared = {str(intent.to_version) for intent in self.log.open_intents(name)}
            return (*done, *versions.remove_leftovers(client, name, spared))

    def resume(self, name: str) -> tuple[str, ...]:
        """Do the first half of `reconcile`: finish or void decisions that a crash cut short.

        Safe also while another process registers versions.
        """
        with decision_lock(self.locks, name), self._store() as client:
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
        with decision_lock(self.locks, name), self._store() as client:
            # No decision may come between what is read here and the intent.
            seen = self.log.newest(name)
            model = self._required(client, name, version)
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
            self._require_known(name)
            raise InputError(
                f"No version of {name!r} waits for approval. One does after a training with "
                "gate.approval: manual (or canary) that passes the gate."
            )
        return waiting

    def _require_known(self, name: str) -> None:
        with self._store() as client:
            known = versions.names(client)
        if name not in known:
            raise InputError(
                f"No model {name!r} is registered at {shown(self.tracking_uri)}"
                f"{did_you_mean(name, known) or '.'} There are: {', '.join(known) or 'none'}."
            )

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
        with self._store() as client:
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

    def _required(self, client: MlflowClient, name: str, version: str) -> RegisteredModel:
        found = versions.get(client, name, version)
        if found is None:
            every = ", ".join(versions.numbers(client, name)) or "none"
            raise InputError(
                f"{name!r} has no version or alias {version!r} in the registry at "
                f"{shown(self.tracking_uri)}; there are: {every}."
            )
        return found

    @contextmanager
    def _store(self) -> Iterator[MlflowClient]:
        require_reachable(self.tracking_uri)
        client = self.client
        with mlflow_errors(self.tracking_uri):
            yield client


def _overtaken(name: str, version: str, judged: str | None, champion: str | None) -> str:
    return (
        f"Version {version} of {name!r} was judged against "
        f"{f'champion {judged}' if judged else 'no champion'}, but "
        f"{f'version {champion} is champion now' if champion else 'there is none now'}. "
        "Train again."
    )
