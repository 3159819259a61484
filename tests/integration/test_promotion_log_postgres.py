"""The promotion log in PostgreSQL: the same promises, kept by that database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from evergreen.errors import RefusedError, UnreachableError
from evergreen.promotion.promotion_log import Entry, PromotionLog
from tests.support.arms import plan_of
from tests.support.verdicts import verdict


@pytest.fixture
def url(postgres, request):
    """A database of this test's own."""
    name = "log_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:50].lower()
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def log(url):
    log = PromotionLog(url)
    yield log
    log.close()


def _entry(**changes):
    return Entry(**{"who": "ada", "use_case": "boats", "action": "promoted", **changes})


def test_what_was_recorded_comes_back(log):
    recorded = log.record(
        _entry(verdict=verdict("1"), figures={"a": 0.5, "b": float("nan")}, note="ü")
    )
    (found,) = log.entries("boats")
    assert found.id == recorded.id
    assert found.verdict == verdict("1")
    assert found.figures == {"a": 0.5, "b": None}
    assert found.time == recorded.time


def test_an_address_without_a_driver_is_enough(url):
    log = PromotionLog(url.replace("postgresql+psycopg://", "postgresql://"))
    log.record(_entry())
    assert len(log.entries()) == 1
    log.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE promotion_log SET who = 'eve'",
        "DELETE FROM promotion_log WHERE id = 1",
        "TRUNCATE promotion_log",
        "INSERT INTO promotion_log (id, time, who, host, use_case, action) "
        "VALUES (1, now(), 'eve', 'h', 'boats', 'promoted') "
        "ON CONFLICT (id) DO UPDATE SET who = 'eve'",
    ],
)
def test_no_row_can_be_changed_or_removed(log, url, statement):
    log.record(_entry())
    before = log.entries()
    engine = sa.create_engine(url)
    with (
        pytest.raises(sa.exc.DBAPIError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.execute(sa.text(statement))
    engine.dispose()
    assert log.entries() == before


def test_intents_open_close_and_exclude_each_other(log):
    intent = log.record(_entry(action="intent", intended="promoted", to_version="2"))
    with pytest.raises(RefusedError, match="is deciding on version 2"):
        log.record(_entry(action="intent", intended="promoted", to_version="3"))
    log.record(_entry(closes=intent.id))
    assert log.open_intents("boats") == ()
    with pytest.raises(RefusedError, match="concluded by another process"):
        log.record(_entry(action="voided", closes=intent.id))


def test_of_many_intents_at_once_one_wins_also_while_the_table_is_made(url):
    def attempt(number):
        own = PromotionLog(url)
        try:
            own.record(_entry(action="intent", intended="promoted", to_version=str(number)))
        except RefusedError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_a_removed_guard_is_put_back(log, url):
    log.record(_entry())
    log.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER promotion_log_no_change ON promotion_log"))
    log.entries()
    with (
        pytest.raises(sa.exc.DBAPIError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.execute(sa.text("DELETE FROM promotion_log"))
    engine.dispose()


def test_a_wrong_password_is_said_without_it(postgres):
    wrong = sa.make_url(postgres.url).set(password="mistaken-one")
    log = PromotionLog(wrong.render_as_string(hide_password=False))
    with pytest.raises(UnreachableError, match="cannot be used") as caught:
        log.entries()
    assert "mistaken-one" not in str(caught.value)


def test_a_log_from_before_traffic_plans_is_taken_over(log, url):
    log.record(_entry())
    log.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:  # as the version before made it
        connection.execute(sa.text("ALTER TABLE promotion_log DROP COLUMN plan"))
        connection.execute(
            sa.text("ALTER TABLE promotion_log DROP CONSTRAINT promotion_log_action")
        )
        connection.execute(
            sa.text(
                "ALTER TABLE promotion_log ADD CONSTRAINT promotion_log_action "
                "CHECK (action IN ('intent', 'promoted'))"
            )
        )
    plan = plan_of()
    log.record(_entry(action="traffic", plan=plan))
    assert [entry.plan for entry in log.entries("boats")] == [plan, None]
    with (
        pytest.raises(sa.exc.IntegrityError, match="promotion_log_action"),
        engine.begin() as connection,
    ):
        connection.execute(
            sa.text(
                "INSERT INTO promotion_log (time, who, host, use_case, action) "
                "VALUES (now(), 'eve', 'h', 'boats', 'made up')"
            )
        )
    engine.dispose()
