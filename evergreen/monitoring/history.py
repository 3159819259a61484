"""The monitoring history: every judged window and what became of it, in tables only added to.

A window is written once. What is learnt later (labels that came late, the outcome of a retraining)
goes into a second table, whose newest row counts. Both lie beside the promotion log.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa
from pydantic import TypeAdapter

from evergreen.database import Database
from evergreen.monitoring.decision import Action, Decision, Outcome, PastWindow, WindowLoss
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.promotion.append_only import create_append_only
from evergreen.values import Value

Source = Literal["log", "table"]
Turn = Literal["started"] | Outcome
LOOK_BACK: Final = 200  # windows that a decision looks back at

_METADATA: Final = sa.MetaData()
WINDOWS: Final = sa.Table(
    "monitoring_windows",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("use_case", sa.String(100), nullable=False, index=True),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("source", sa.String(10), nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("content", sa.String(64)),
    sa.Column("first", sa.DateTime(timezone=True)),
    sa.Column("last", sa.DateTime(timezone=True)),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("labelled", sa.Integer, nullable=False),
    sa.Column("loss", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("segments", sa.Text, nullable=False),
    sa.Column("quality", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("labels_until", sa.DateTime(timezone=True)),
    sa.Column("seconds", sa.Float),
    sa.Column("report", sa.Text),
    sa.Column("zenml_run", sa.String(200)),
    sa.CheckConstraint(
        "action IN ({})".format(", ".join(f"'{action}'" for action in get_args(Action))),
        name="monitoring_windows_action",
    ),
)
UPDATES: Final = sa.Table(
    "monitoring_updates",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("window_id", sa.Integer, nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),  # loss, or a turn
    sa.Column("loss", sa.Text),
    sa.Column("version", sa.String(20)),
    sa.Column("note", sa.Text),
)
REFERENCES: Final = sa.Table(
    "monitoring_references",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("window_id", sa.Integer, nullable=False, index=True),
    sa.Column("profile", sa.Text, nullable=False),
)


class QualityFinding(Value):
    """A promise of the contract that rows of the window break."""

    check: str
    column: str | None
    severity: Literal["error", "warning", "info"]
    rows: int
    share: float  # of the window's rows
    reason: str  # one sentence with the numbers


class SegmentVerdict(Value):
    """One group of rows, judged apart."""

    column: str
    value: str
    verdict: WindowVerdict


class ObservedWindow(Value):
    """A judged window, before anything is decided about it.

    ``first`` and ``last`` are the moments (UTC) of its oldest and newest row, None where unknown;
    ``content`` tells whether two tables are the same. ``labels_until`` is the moment up to which
    labels had a say in the verdict.
    """

    use_case: str
    version: str  # of the model that it is judged for
    source: Source
    place: str  # of the log or the table, without secrets
    content: str | None = None
    first: datetime | None = None
    last: datetime | None = None
    rows: int
    loss: WindowLoss = WindowLoss()  # of its own rows, as far as their truth is known
    verdict: WindowVerdict
    segments: tuple[SegmentVerdict, ...] = ()
    quality: tuple[QualityFinding, ...] = ()
    labels_until: datetime | None = None
    seconds: float | None = None  # that counting and judging took
    report: str | None = None  # folder of its pages
    zenml_run: str | None = None


class MonitoredWindow(ObservedWindow):
    """One row of the history.

    ``turn`` is the newest word on the retraining (or rollback) that it led to: None where none was
    begun, ``runs`` the ZenML runs that worked on it, and ``new_version`` what came of it.
    ``labelled`` and ``loss`` grow with labels that come late.
    """

    id: int | None = None  # given by the database
    time: datetime | None = None  # UTC; likewise
    host: str | None = None
    decision: Decision
    turn: Turn | None = None
    turn_time: datetime | None = None
    new_version: str | None = None
    runs: tuple[str, ...] = ()

    @property
    def action(self) -> Action:
        """What was decided."""
        return self.decision.action

    @property
    def labelled(self) -> int:
        """Rows whose truth is known by now."""
        return self.loss.rows

    @property
    def end(self) -> datetime:
        """The moment that the policy goes by: that of the newest logged row, else of judging."""
        found = self.last if self.source == "log" and self.last is not None else self.time
        return found if found is not None else datetime.now(UTC)

    def past(self) -> PastWindow:
        """Return it as the policy remembers it.

        A retraining that nobody began does not count as one: whoever only monitors is told again.
        """
        begun = self.action == "retrain" and self.turn is not None
        ended = begun and self.turn != "started"
        action = self.action if begun or self.action != "retrain" else "watch"
        return PastWindow(
            at=self.end,
            rows=self.rows,
            version=self.version,
            families=self.verdict.families,
            loss=self.loss,
            action=action,
            training=self.decision.training if begun else None,
            outcome=self.turn if ended and self.turn != "started" else None,
        )


class MonitoringHistory(Database):
    """The history in the database at a SQLAlchemy address: SQLite or PostgreSQL.

    The tables are made on first use, with triggers that refuse every change and deletion. All
    methods raise `UnreachableError` if the database cannot be used, `InputError` if its address is
    unusable.
    """

    title = "The monitoring history"

    def record(self, observed: ObservedWindow, decision: Decision) -> MonitoredWindow:
        """Add a window, and return it with its id and time."""
        stamped = MonitoredWindow(
            **{name: getattr(observed, name) for name in ObservedWindow.model_fields},
            decision=decision,
            time=datetime.now(UTC),
            host=socket.gethostname(),
        )
        with self._transaction(write=True) as connection:
            key = connection.execute(WINDOWS.insert().values(_row(stamped))).inserted_primary_key
        return stamped.model_copy(update={"id": None if key is None else int(key[0])})

    def windows(self, use_case: str, limit: int | None = None) -> tuple[MonitoredWindow, ...]:
        """Return windows with what is known of them by now, the newest first."""
        query = (
            sa.select(WINDOWS)
            .where(WINDOWS.c.use_case == use_case)
            .order_by(WINDOWS.c.id.desc())
            .limit(limit)
        )
        with self._transaction() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            chosen = sa.select(query.with_only_columns(WINDOWS.c.id).subquery().c.id)
            updates = connection.execute(
                sa.select(UPDATES).where(UPDATES.c.window_id.in_(chosen)).order_by(UPDATES.c.id)
            ).mappings()
            learnt: dict[int, list[sa.RowMapping]] = {}
            for update in updates:
                learnt.setdefault(update["window_id"], []).append(update)
        return tuple(_window(row, learnt.get(row["id"], [])) for row in rows)

    def window(self, number: int) -> MonitoredWindow | None:
        """Return one window by its id."""
        with self._transaction() as connection:
            found = connection.execute(sa.select(WINDOWS).where(WINDOWS.c.id == number)).mappings()
            row = found.one_or_none()
            updates = connection.execute(
                sa.select(UPDATES).where(UPDATES.c.window_id == number).order_by(UPDATES.c.id)
            ).mappings()
            return None if row is None else _window(dict(row), list(updates))

    def record_loss(self, window: int, loss: WindowLoss) -> None:
        """Note the losses of a window after labels came late."""
        self._update(window, kind="loss", loss=loss.model_dump_json())

    def record_turn(
        self, window: int, turn: Turn, *, version: str | None = None, note: str | None = None
    ) -> None:
        """Note that the turn of a window was begun, or what became of it.

        ``version`` is that of the champion which came of it. The ``note`` of a beginning is the
        name of the run.
        """
        self._update(window, kind=turn, version=version, note=note)

    def record_reference(self, window: int, profile: Profile) -> None:
        """Keep the data reference that was made when the drift up to a window was accepted."""
        row = {"time": datetime.now(UTC), "host": socket.gethostname(), "window_id": window}
        with self._transaction(write=True) as connection:
            text = profile.model_dump_json()
            connection.execute(REFERENCES.insert().values(**row, profile=text))

    def reference(self, window: int) -> Profile | None:
        """Return the data reference that was accepted with a window; None: none was made."""
        query = sa.select(REFERENCES.c.profile).where(REFERENCES.c.window_id == window)
        with self._transaction() as connection:
            found = connection.execute(query.order_by(REFERENCES.c.id.desc())).scalars().first()
        return None if found is None else Profile.model_validate_json(found)

    def open_turns(self, use_case: str) -> tuple[MonitoredWindow, ...]:
        """Return the windows whose retraining was begun and not concluded, the newest first."""
        return tuple(w for w in self.windows(use_case, LOOK_BACK) if w.turn == "started")

    def policy_history(self, observed: ObservedWindow) -> tuple[PastWindow, ...]:
        """Return what `decide` takes: the windows before, the oldest first, then this one.

        Windows that share rows with it are left out: an alarm must not confirm itself. So are
        those of another source and those too small to judge, unless they led to a retraining,
        which cool-down and cap count.
        """
        before = self.windows(observed.use_case, LOOK_BACK)
        kept = [w.past() for w in reversed(before) if counts_beside(w, observed)]
        ended = observed.last if observed.source == "log" else None
        this = PastWindow(
            at=ended or datetime.now(UTC),
            rows=observed.rows,
            version=observed.version,
            families=observed.verdict.families,
            loss=observed.loss,
        )
        return (*kept, this)

    def _update(self, window: int, **values: Any) -> None:
        row = {
            "time": datetime.now(UTC),
            "host": socket.gethostname(),
            "window_id": window,
            **values,
        }
        with self._transaction(write=True) as connection:
            connection.execute(UPDATES.insert().values(row))

    def _make_tables(self, engine: sa.Engine) -> None:
        for table in (WINDOWS, UPDATES, REFERENCES):
            create_append_only(engine, table)


def counts_beside(window: MonitoredWindow, observed: ObservedWindow) -> bool:
    """Tell whether an earlier window has a say in the decision about this one."""
    if window.action == "retrain" and window.turn is not None:
        return True
    if window.source != observed.source or window.verdict.too_few:
        return False
    if observed.source == "table":
        return window.content is None or window.content != observed.content
    if window.last is None or observed.first is None:
        return True
    return window.last < observed.first


_SEGMENTS: Final = TypeAdapter(tuple[SegmentVerdict, ...])
_QUALITY: Final = TypeAdapter(tuple[QualityFinding, ...])


def _row(window: MonitoredWindow) -> dict[str, Any]:
    plain = ("time", "host", "use_case", "version", "source", "place", "content", "first", "last")
    row = {name: getattr(window, name) for name in plain}
    row |= {name: getattr(window, name) for name in ("rows", "labels_until", "seconds")}
    row |= {name: getattr(window, name) for name in ("report", "zenml_run")}
    return row | {
        "labelled": window.loss.rows,
        "loss": window.loss.model_dump_json(),
        "verdict": window.verdict.model_dump_json(),
        "segments": _SEGMENTS.dump_json(window.segments).decode(),
        "quality": _QUALITY.dump_json(window.quality).decode(),
        "decision": window.decision.model_dump_json(),
        "action": window.action,
    }


def _window(row: Mapping[str, Any], updates: Sequence[sa.RowMapping]) -> MonitoredWindow:
    values = {name: value for name, value in row.items() if name not in ("action", "labelled")}
    for name in ("time", "first", "last", "labels_until"):
        values[name] = _utc(values[name])
    values["loss"] = WindowLoss.model_validate_json(values["loss"])
    values["verdict"] = WindowVerdict.model_validate_json(values["verdict"])
    values["segments"] = _SEGMENTS.validate_json(values["segments"])
    values["quality"] = _QUALITY.validate_json(values["quality"])
    values["decision"] = Decision.model_validate_json(values["decision"])
    for update in updates:
        if update["kind"] == "loss":
            values["loss"] = WindowLoss.model_validate_json(update["loss"])
        else:
            values["turn"] = update["kind"]
            values["turn_time"] = _utc(update["time"])
            values["new_version"] = update["version"]
            if update["kind"] == "started" and update["note"]:
                values["runs"] = (*values.get("runs", ()), update["note"])
    return MonitoredWindow(**values)


def _utc(moment: datetime | None) -> datetime | None:
    """Return a moment with its zone, which SQLite does not keep."""
    if moment is None or moment.tzinfo is not None:
        return None if moment is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=UTC)
