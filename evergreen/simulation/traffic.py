"""Sending rows to a running API, and their true labels some rows later."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from evergreen.errors import InputError, UnreachableError
from evergreen.values import Value

LABELS_TOGETHER: Final = 100
LONGEST_WAIT: Final = 30.0  # seconds, where the API asks for patience
_REFUSED: Final = frozenset({400, 413, 415, 422})


class Summary(Value):
    """What became of the traffic. ``correct`` counts answers that were the truth (classes only)."""

    sent: int
    answered: int
    refused: int
    labelled: int
    correct: int
    seconds: float
    versions: tuple[str, ...]  # that answered, in the order of their first answer
    reason: str | None = None  # the commonest one of a refusal


class _Tally:
    def __init__(self) -> None:
        self.answered = self.labelled = self.correct = 0
        self.reasons: Counter[str] = Counter()
        self.versions: dict[str, None] = {}


def send_traffic(
    url: str,
    rows: Sequence[dict[str, Any]],
    labels: Sequence[Any],
    *,
    rate: float | None = None,
    delay: int = 50,
    key: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Send rows one by one to ``url``/predict, and each label ``delay`` or more rows later.

    Parameters
    ----------
    rate
        Rows per second; None: as fast as the API answers.
    key
        API key, where the API asks for one.
    progress
        Is told the number of rows sent, after each.

    Raises
    ------
    UnreachableError
        If the API does not answer, or answers with a failure of its own.
    InputError
        If it does not accept the key.
    """
    started = time.monotonic()
    tally = _Tally()
    pending: list[tuple[int, dict[str, Any]]] = []
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client, _explained(url):
        for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
            if rate is not None:
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
            answer = _predict(client, row, tally)
            if answer is not None:
                tally.correct += answer["prediction"] == label
                pending.append((number, {"request_id": answer["request_id"], "label": label}))
            if (
                len(pending) >= LABELS_TOGETHER
                and pending[LABELS_TOGETHER - 1][0] + delay <= number
            ):
                _label(client, [entry for _, entry in pending[:LABELS_TOGETHER]], tally)
                del pending[:LABELS_TOGETHER]
            progress(number + 1)
        while pending:
            _label(client, [entry for _, entry in pending[:LABELS_TOGETHER]], tally)
            del pending[:LABELS_TOGETHER]
    return Summary(
        sent=len(rows),
        answered=tally.answered,
        refused=tally.reasons.total(),
        labelled=tally.labelled,
        correct=tally.correct,
        seconds=time.monotonic() - started,
        versions=tuple(tally.versions),
        reason=tally.reasons.most_common(1)[0][0] if tally.reasons else None,
    )


def _predict(client: httpx.Client, row: dict[str, Any], tally: _Tally) -> dict[str, Any] | None:
    """Return the answer to one row; None where the row is refused."""
    reply = _post(client, "/predict", row)
    if reply.status_code in _REFUSED:
        tally.reasons[_reason(reply)] += 1
        return None
    reply.raise_for_status()
    answer: dict[str, Any] = reply.json()
    tally.answered += 1
    tally.versions.setdefault(str(answer["model_version"]))
    return answer


def _label(client: httpx.Client, entries: list[dict[str, Any]], tally: _Tally) -> None:
    reply = _post(client, "/feedback", entries)
    reply.raise_for_status()
    tally.labelled += len(entries)


def _post(client: httpx.Client, path: str, content: Any) -> httpx.Response:
    """Post JSON; wait where the API asks for it."""
    while True:
        reply = client.post(path, json=content)
        if reply.status_code != httpx.codes.TOO_MANY_REQUESTS:
            return reply
        wait = reply.headers.get("retry-after", "1")
        time.sleep(min(float(wait) if wait.isdigit() else 1.0, LONGEST_WAIT))


def _reason(reply: httpx.Response) -> str:
    """Return the first mistake that a problem document names (RFC 9457)."""
    try:
        problem = reply.json()
        first = (problem.get("errors") or [{}])[0]
        words = (first.get("field"), first.get("message") or problem.get("detail"))
        return ": ".join(str(word) for word in words if word) or f"status {reply.status_code}"
    except (ValueError, AttributeError, TypeError):
        return f"status {reply.status_code}"


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise InputError(
                f"The API at {url} does not accept the key (status {status}). "
                "Name one in the environment: export EVERGREEN_API_KEY=eg_…"
            ) from None
        raise UnreachableError(
            f"The API at {url} answered {error.request.url.path} with status {status}: "
            f"{_reason(error.response)}"
        ) from None
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UnreachableError(
            f"No API answers at {url} ({error}). Start one: make serve, or make deploy"
        ) from None
