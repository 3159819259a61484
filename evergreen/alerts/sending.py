"""Sending an alert: to every target once, again where it fails, and never in a pipeline's way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from evergreen.alerts.alert import RANK, Alert, Severity
from evergreen.alerts.channels import Channel, DeliveryError, channel
from evergreen.alerts.outbox import KEPT, Letter, Outbox
from evergreen.alerts.settings import AlertsConfig
from evergreen.data.sources.environment import Environment
from evergreen.errors import EvergreenError
from evergreen.values import Value

OTHERS_MINIMUM: Final[Severity] = "warning"  # what channels beside the settings are told
_LONGEST_WAIT: Final = 10  # seconds between two tries


class Delivery(Value):
    """What one call did. ``problems`` are sentences for the log; secrets do not show."""

    delivered: tuple[str, ...] = ()  # a target per letter, in order
    suppressed: tuple[str, ...] = ()  # targets that were told the same not long ago
    problems: tuple[str, ...] = ()


def send(
    alert: Alert,
    settings: AlertsConfig,
    database_url: str,
    *,
    also: Mapping[str, Channel] | None = None,
    environ: Mapping[str, str] | None = None,
    backoff: float = 1.0,
) -> Delivery:
    """Tell every target whose minimum the alert reaches, and what earlier calls could not tell.

    Nothing is raised: what could not be delivered is told by the result, stays in the outbox for
    `KEPT` and goes with the next call. Where the database cannot be used, all is sent, repeats
    too: told twice is better than never.

    Parameters
    ----------
    database_url
        SQLAlchemy address of SQLite or PostgreSQL, where the outbox is.
    also
        Name: another channel (the stack's alerter), which is told of warnings and worse.
    environ
        Where references are looked up. Default: ``os.environ``.
    backoff
        Seconds before the second try; they double at each further one.
    """
    environment = Environment(os.environ if environ is None else environ)
    channels = {name: channel(target, environment) for name, target in settings.targets.items()}
    channels |= also or {}
    least = {name: target.minimum for name, target in settings.targets.items()}
    wanted = [
        name for name in channels if RANK[alert.severity] >= RANK[least.get(name, OTHERS_MINIMUM)]
    ]
    post = _Post(channels, environment, settings.attempts, backoff)
    try:
        with closing(Outbox(database_url)) as outbox:
            return _by_outbox(alert, wanted, settings, outbox, post)
    except Exception as error:  # a pipeline must not fail because it could not tell
        said = str(error) if isinstance(error, EvergreenError) else repr(error)
        post.problems.append(f"{environment.hide(said)}. Alerts are sent without it.")
        rest = [name for name in wanted if name not in post.tried(alert)]
        moment, event = datetime.now(UTC), uuid4().hex
        for name in rest:
            post.bring(Letter(id=None, event=event, target=name, alert=alert, time=moment))
        return post.result()


class _Post:
    """Brings letters, several tries each, and keeps account of it."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        environment: Environment,
        attempts: int,
        backoff: float,
    ) -> None:
        self.channels = channels
        self.problems: list[str] = []
        self._environment = environment
        self._attempts = attempts
        self._backoff = backoff
        self._delivered: list[str] = []
        self._tried: list[Letter] = []

    def bring(self, letter: Letter) -> DeliveryError | None:
        """Deliver a letter; return why it could not be, with secrets hidden."""
        self._tried.append(letter)
        tries = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=self._backoff, max=_LONGEST_WAIT),
            retry=retry_if_exception(lambda e: isinstance(e, DeliveryError) and e.temporary),
            reraise=True,
        )
        try:
            tries(self.channels[letter.target], letter)
        except Exception as error:
            temporary = isinstance(error, DeliveryError) and error.temporary
            said = str(error) if isinstance(error, DeliveryError) else repr(error)
            reason = self._environment.hide(said)
            self.problems.append(
                f"The alert {letter.alert.title!r} did not reach {letter.target!r}: {reason}"
            )
            return DeliveryError(reason, temporary=temporary)
        self._delivered.append(letter.target)
        return None

    def tried(self, alert: Alert) -> set[str]:
        """Return the targets that ``alert`` was brought to, with or without success."""
        return {letter.target for letter in self._tried if letter.alert == alert}

    def result(self, suppressed: Iterable[str] = ()) -> Delivery:
        """Return the account."""
        return Delivery(
            delivered=tuple(self._delivered),
            suppressed=tuple(suppressed),
            problems=tuple(self.problems),
        )


def _by_outbox(
    alert: Alert, wanted: list[str], settings: AlertsConfig, outbox: Outbox, post: _Post
) -> Delivery:
    for letter in outbox.give_up(alert.use_case):
        post.problems.append(
            f"The alert {letter.alert.title!r} could not be delivered to {letter.target!r} for "
            f"{KEPT.days} days and is given up."
        )
    told = outbox.add(alert, wanted, settings.repeat_after)
    down: set[str] = set()
    for letter in outbox.claim(alert.use_case, list(post.channels)):
        if letter.target in down:  # it does not answer: no further waiting for it
            outbox.released(letter)
            continue
        failure = post.bring(letter)
        if failure is None:
            outbox.delivered(letter)
        else:
            outbox.kept(letter, str(failure))
            if failure.temporary:
                down.add(letter.target)
    return post.result(name for name in wanted if name not in told)
