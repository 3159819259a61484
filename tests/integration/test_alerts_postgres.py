"""The outbox of alerts in PostgreSQL: the same promises, kept by that database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from evergreen.alerts.alert import Alert
from evergreen.alerts.sending import send
from evergreen.alerts.settings import AlertsConfig
from tests.support.receivers import webhook

ALERT = Alert.of("drift", "boats", "speed drifts")


@pytest.fixture
def url(postgres, request):
    """A database of this test's own."""
    name = "alerts_" + request.node.name[-40:].lower()
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def hooked(address):
    return AlertsConfig.model_validate({"targets": {"ops": {"type": "webhook", "url": address}}})


def test_the_same_alert_from_many_at_once_is_told_once(url):
    with webhook() as receiver:
        settings = hooked(receiver.url)
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: send(ALERT, settings, url), range(12)))
    assert len(receiver.posts) == 1
    assert [each.problems for each in found] == [()] * 12


def test_what_could_not_be_delivered_goes_later(url):
    with webhook(lambda n: 400 if n == 0 else 200) as receiver:
        assert send(ALERT, hooked(receiver.url), url).delivered == ()
        other = ALERT.model_copy(update={"key": "other"})
        assert send(other, hooked(receiver.url), url).delivered == ("ops", "ops")
    assert receiver.statuses == [400, 200, 200]


def test_a_database_that_is_gone_is_said_without_its_password(postgres):
    address = sa.make_url(postgres.url).set(database="nowhere", password="s3cr3t-word")
    with webhook() as receiver:
        shown = address.render_as_string(hide_password=False)
        delivery = send(ALERT, hooked(receiver.url), shown)
    assert delivery.delivered == ("ops",)
    assert len(delivery.problems) == 1
    assert "s3cr3t-word" not in str(delivery)
