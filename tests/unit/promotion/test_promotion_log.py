"""The promotion log keeps every decision, and the database refuses to forget one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from evergreen.errors import InputError, RefusedError, UnreachableError
from evergreen.promotion.promotion_log import Entry, PromotionLog
from tests.support.arms import plan_of
from tests.support.verdicts import verdict


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@pytest.fixture
def log(path):
    log = PromotionLog(f"sqlite:///{path}")
    yield log
    log.close()


def _entry(**changes):
    return Entry(**{"who": "ada", "use_case": "boats", "action": "promoted", **changes})


def test_what_was_recorded_comes_back(log):
    entry = _entry(
        from_version="1",
        to_version="2",
        verdict=verdict("1"),
        figures={"accuracy": 0.9, "lost": float("nan"), "absent": None},
        zenml_run="train-boats",
        mlflow_run="abc",
        note="a 'quoted' ümlaut; -- and more",
    )
    recorded = log.record(entry)
    (found,) = log.entries()
    assert recorded.id == found.id == 1
    assert found.time.tzinfo is UTC
    assert datetime.now(UTC) - found.time < timedelta(minutes=1)
    assert found.verdict == verdict("1")
    assert found.figures == {"accuracy": 0.9, "lost": None, "absent": None}
    assert found.host
    assert found.note == entry.note
    assert (found.from_version, found.to_version) == ("1", "2")


def test_entries_are_the_newest_first_and_of_one_use_case(log):
    for number in range(3):
        log.record(_entry(to_version=str(number)))
    log.record(_entry(use_case="cars"))
    assert [entry.to_version for entry in log.entries("boats")] == ["2", "1", "0"]
    assert [entry.use_case for entry in log.entries(limit=1)] == ["cars"]
    assert log.entries("planes") == ()


def test_an_intent_is_open_until_something_closes_it(log):
    intent = log.record(_entry(action="intent", intended="promoted", to_version="2"))
    assert [entry.id for entry in log.open_intents("boats")] == [intent.id]
    assert log.open_intents("cars") == ()
    log.record(_entry(closes=intent.id))
    assert log.open_intents("boats") == ()


def test_two_intents_of_one_use_case_exclude_each_other(log):
    log.record(_entry(action="intent", intended="promoted", to_version="2"))
    with pytest.raises(RefusedError, match=r"ada on .* is deciding on version 2 of 'boats' since"):
        log.record(_entry(action="intent", intended="promoted", to_version="3"))
    log.record(_entry(action="intent", intended="promoted", use_case="cars"))


def test_an_intent_is_closed_once(log):
    intent = log.record(_entry(action="intent", intended="promoted"))
    log.record(_entry(closes=intent.id))
    with pytest.raises(RefusedError, match="concluded by another process"):
        log.record(_entry(action="voided", closes=intent.id))


def test_of_many_intents_at_once_one_wins(log, path):
    log.entries()  # the table is there

    def attempt(number):
        own = PromotionLog(f"sqlite:///{path}")
        try:
            own.record(_entry(action="intent", intended="promoted", to_version=str(number)))
        except RefusedError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_many_processes_may_make_the_table_at_once(path):
    def attempt(number):
        own = PromotionLog(f"sqlite:///{path}")
        own.record(_entry(to_version=str(number)))
        own.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(8)))
    assert len(PromotionLog(f"sqlite:///{path}").entries()) == 8


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE promotion_log SET who = 'eve'",
        "UPDATE promotion_log SET id = 7 WHERE id = 1",
        "DELETE FROM promotion_log",
        "DELETE FROM promotion_log WHERE id = 1",
        "INSERT OR REPLACE INTO promotion_log (id, time, who, host, use_case, action) "
        "VALUES (1, '2026-01-01', 'eve', 'h', 'boats', 'promoted')",
        "REPLACE INTO promotion_log (time, who, host, use_case, action, closes) "
        "VALUES ('2026-01-01', 'eve', 'h', 'boats', 'promoted', 1)",
        "INSERT INTO promotion_log (id, time, who, host, use_case, action) "
        "VALUES (1, '2026-01-01', 'eve', 'h', 'boats', 'promoted') "
        "ON CONFLICT (id) DO UPDATE SET who = 'eve'",
    ],
)
def test_no_row_can_be_changed_or_removed(log, path, statement):
    log.record(_entry(action="intent", intended="promoted"))
    log.record(_entry(closes=1))
    before = log.entries()
    with (
        sqlite3.connect(path) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    connection.close()
    assert log.entries() == before


def test_an_unknown_action_is_refused_by_the_database_too(log, path):
    log.record(_entry())
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO promotion_log (time, who, host, use_case, action) "
            "VALUES ('2026-01-01', 'eve', 'h', 'boats', 'forgotten')"
        )
    connection.close()


def test_a_removed_guard_is_put_back(log, path):
    log.record(_entry())
    log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER promotion_log_no_delete")
    connection.close()
    log.entries()
    with (
        sqlite3.connect(path) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute("DELETE FROM promotion_log")
    connection.close()


def test_it_writes_ahead(log, path):
    log.record(_entry())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_readers_do_not_wait_for_a_writer(log, path):
    log.record(_entry())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert len(log.entries()) == 1
    writer.execute("ROLLBACK")
    writer.close()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "log.db").write_text("this is no database, and never was one")
    with pytest.raises(UnreachableError, match="cannot be used"):
        PromotionLog(f"sqlite:///{tmp_path / 'log.db'}").entries()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreachableError, match="promotion log at sqlite:///"):
        PromotionLog(f"sqlite:///{tmp_path / 'file' / 'log.db'}").entries()


def test_a_database_that_may_only_be_read(log, path):
    log.record(_entry())
    log.close()
    reader = PromotionLog(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert len(reader.entries()) == 1
    with pytest.raises(UnreachableError, match="cannot be used: attempt to write a readonly"):
        reader.record(_entry())
    reader.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no address", "is no SQLAlchemy URL"),
        ("mysql://u@h/d", "cannot be kept in mysql"),
        ("wonderbase://h/d", r"no driver|cannot be kept in wonderbase"),
    ],
)
def test_unusable_addresses(url, message):
    with pytest.raises(InputError, match=message):
        PromotionLog(url).entries()


def test_an_unreachable_server_is_named_without_its_password():
    log = PromotionLog("postgresql://ada:s3cret@127.0.0.1:1/d")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/d") as caught:
        log.entries()
    assert "s3cret" not in str(caught.value)


BEFORE_PLANS = """
CREATE TABLE promotion_log (id INTEGER NOT NULL, time DATETIME NOT NULL, who VARCHAR(200) NOT NULL,
  host VARCHAR(200) NOT NULL, use_case VARCHAR(100) NOT NULL, action VARCHAR(20) NOT NULL,
  intended VARCHAR(20), closes INTEGER, from_version VARCHAR(20), to_version VARCHAR(20),
  verdict TEXT, figures TEXT, zenml_run VARCHAR(200), mlflow_run VARCHAR(64), note TEXT,
  PRIMARY KEY (id), CONSTRAINT promotion_log_action CHECK (action IN ('intent', 'promoted',
  'waiting', 'approved', 'rejected', 'refused', 'rolled_back', 'voided')), UNIQUE (closes));
CREATE INDEX ix_promotion_log_use_case ON promotion_log (use_case);
CREATE TRIGGER promotion_log_no_update BEFORE UPDATE ON promotion_log
  BEGIN SELECT RAISE(ABORT, 'promotion_log is append-only'); END;
CREATE TRIGGER promotion_log_no_delete BEFORE DELETE ON promotion_log
  BEGIN SELECT RAISE(ABORT, 'promotion_log is append-only'); END;
CREATE TRIGGER promotion_log_no_replace BEFORE INSERT ON promotion_log
  WHEN EXISTS (SELECT 1 FROM promotion_log WHERE id = NEW.id OR closes = NEW.closes)
  BEGIN SELECT RAISE(ABORT, 'promotion_log is append-only'); END;
INSERT INTO promotion_log (id, time, who, host, use_case, action, to_version) VALUES
  (4, '2026-05-01 10:00:00', 'ada', 'h', 'boats', 'promoted', '1'),
  (7, '2026-05-02 10:00:00', 'bob', 'h', 'boats', 'waiting', '2');
"""


def test_a_log_from_before_traffic_plans_is_taken_over(path):
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE_PLANS)
    plan = plan_of()

    def write(number):
        own = PromotionLog(f"sqlite:///{path}")
        try:
            return own.record(_entry(action="traffic", to_version="4", plan=plan)).id
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:  # all find the old table
        assert sorted(pool.map(write, range(4))) == [8, 9, 10, 11]
    log = PromotionLog(f"sqlite:///{path}")
    kept = log.entries("boats")[4:]
    assert [(entry.id, entry.who, entry.plan) for entry in kept] == [
        (7, "bob", None),
        (4, "ada", None),
    ]
    assert log.entries("boats")[0].plan == plan
    log.close()
    with sqlite3.connect(path) as connection:
        for statement in ("UPDATE promotion_log SET who = 'eve'", "DELETE FROM promotion_log"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute(
                "INSERT INTO promotion_log (time, who, host, use_case, action) "
                "VALUES ('2026-05-01', 'eve', 'h', 'boats', 'made up')"
            )


def test_an_intent_that_rests_on_what_is_not_the_newest_any_more_is_refused(log):
    seen = log.newest("boats")
    assert seen == 0
    log.record(_entry(use_case="cars"))
    log.record(_entry(action="intent", intended="traffic"), seen=seen)
    with pytest.raises(RefusedError, match="at the same moment"):
        log.record(_entry(action="refused"), seen=seen)
    assert len(log.entries("boats")) == 1
