"""Carrying out a decision that the promotion log holds the intent of.

Every part sets something to a fixed value, so carrying out a decision twice changes nothing.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from evergreen.errors import RefusedError
from evergreen.promotion import plan_tag, versions
from evergreen.promotion import registration as tag
from evergreen.promotion.promotion_log import Entry, PromotionLog
from evergreen.promotion.registration import CHALLENGER, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOVES: Final = ("promoted", "approved", "rolled_back")  # make another version champion

TRAFFIC: Final = ("traffic", "stepped")  # change the challenger's share of the traffic alone

# A process on another machine may be in the middle of a decision that is younger than this.
ALIVE_ELSEWHERE: Final = timedelta(minutes=2)


def carry_out(
    client: MlflowClient, log: PromotionLog, intent: Entry, note: str | None = None
) -> None:
    """Set aliases and tags as the intent says, and close it in the log.

    Raises
    ------
    RefusedError
        If another version became champion meanwhile; the intent is voided then.
    """
    name, version = intent.use_case, str(intent.to_version)
    if is_overtaken(client, intent):
        void(log, intent, "another champion had come meanwhile")
        raise RefusedError(
            f"The champion of {name!r} was moved by somebody else meanwhile; version {version} "
            "stays as it was. Train again."
        )
    known = versions.aliases(client, name)
    if intent.intended in MOVES:
        client.set_registered_model_alias(name, CHAMPION, version)
        if intent.from_version not in (None, version):
            client.set_registered_model_alias(name, PREVIOUS, str(intent.from_version))
    if intent.intended == "waiting":
        client.set_registered_model_alias(name, CHALLENGER, version)
    elif intent.intended not in TRAFFIC and known.get(CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
    # Whatever moves champion or challenger ends the plan that was made for those two.
    plan_tag.write(client, name, intent.plan)
    if intent.intended in ("promoted", "waiting"):
        client.set_model_version_tag(
            name, version, tag.JUDGED_AGAINST, str(intent.from_version or "")
        )
    if intent.intended not in TRAFFIC:
        client.set_model_version_tag(name, version, tag.DECISION, str(intent.intended))
    close(log, intent, note)


def close(log: PromotionLog, intent: Entry, note: str | None) -> None:
    """Write what became of an intent: what was intended."""
    notes = [text for text in (intent.note, note) if text]
    log.record(
        intent.model_copy(
            update={
                "action": intent.intended,
                "intended": None,
                "closes": intent.id,
                "note": "; ".join(notes) or None,
            }
        )
    )


def void(log: PromotionLog, intent: Entry, reason: str) -> None:
    """Write that nothing came of an intent."""
    log.record(
        intent.model_copy(
            update={"action": "voided", "intended": None, "closes": intent.id, "note": reason}
        )
    )


def is_overtaken(client: MlflowClient, intent: Entry) -> bool:
    """Tell whether champion is neither what the intent knew nor what it was to become."""
    champion = versions.aliases(client, intent.use_case).get(CHAMPION)
    expected = {intent.from_version}
    if intent.intended in MOVES:
        expected.add(intent.to_version)
    gone = versions.get(client, intent.use_case, str(intent.to_version)) is None
    return champion not in expected or gone


def is_recent_elsewhere(intent: Entry) -> bool:
    """Tell whether the process that wrote the intent may still be at work on another machine."""
    if intent.host == socket.gethostname() or intent.time is None:
        return False
    return datetime.now(UTC) - intent.time < ALIVE_ELSEWHERE
