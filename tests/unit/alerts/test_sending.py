"""Alerts reach real receivers exactly once, repeats are kept back, and what failed goes later."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from evergreen.alerts.alert import Alert
from evergreen.alerts.outbox import KEPT, Outbox
from evergreen.alerts.sending import send
from evergreen.alerts.settings import AlertsConfig
from evergreen.paths import Home
from tests.support.receivers import webhook

DRIFT = Alert.of("drift", "wine", "alcohol drifts", "since noon", facts={"distance": 0.3})


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path / 'evergreen.db'}"


def hooked(url, **settings):
    target = {"type": "webhook", "url": url, **settings.pop("target", {})}
    return AlertsConfig.model_validate({"targets": {"ops": target}, **settings})


def told(receiver):
    return [post.content["title"] for post in receiver.taken]


def test_a_webhook_gets_exactly_what_was_sent(database):
    with webhook() as receiver:
        delivery = send(DRIFT, hooked(receiver.url), database)
    assert delivery.delivered == ("ops",)
    assert delivery.problems == ()
    [post] = receiver.posts
    sent = dict(post.content)
    assert post.headers["idempotency-key"] == sent.pop("id")
    assert datetime.fromisoformat(sent.pop("time")).tzinfo is not None
    assert sent.pop("repeats") == 0
    assert Alert.model_validate(sent) == DRIFT


def test_repeats_are_kept_back_and_counted(database):
    with webhook() as receiver:
        settings = hooked(receiver.url, repeat_after="6h")
        deliveries = [send(DRIFT, settings, database) for _ in range(4)]
        assert len(receiver.posts) == 1
        assert [d.suppressed for d in deliveries] == [(), ("ops",), ("ops",), ("ops",)]
        later = datetime.now(UTC) + timedelta(hours=7)
        outbox = Outbox(database)
        assert outbox.add(DRIFT, ["ops"], timedelta(hours=6), now=later) == ("ops",)
        [letter] = outbox.claim("wine", ["ops"], now=later)
        outbox.close()
    assert letter.repeats == 3


@pytest.mark.parametrize(
    "other",
    [
        DRIFT.model_copy(update={"key": "drift hue"}),
        DRIFT.model_copy(update={"use_case": "iris"}),
        DRIFT.model_copy(update={"severity": "critical"}),  # it got worse
    ],
)
def test_other_news_is_no_repeat(other, database):
    with webhook() as receiver:
        for alert in (DRIFT, other, DRIFT, other):
            send(alert, hooked(receiver.url), database)
    assert len(receiver.posts) == 2


def test_only_what_is_severe_enough_is_told(database):
    note = DRIFT.model_copy(update={"severity": "info", "key": "note"})
    with webhook() as receiver:
        critical = hooked(receiver.url, target={"minimum": "critical"})
        assert send(DRIFT, critical, database).delivered == ()
        assert send(note, hooked(receiver.url), database).delivered == ()
        assert receiver.posts == []
        every = hooked(receiver.url, target={"minimum": "info"})
        assert send(note, every, database).delivered == ("ops",)
    assert len(receiver.posts) == 1


def test_a_busy_receiver_is_asked_again_with_the_same_key(database):
    with webhook(lambda n: 503 if n < 2 else 200) as receiver:
        delivery = send(DRIFT, hooked(receiver.url, attempts=3), database, backoff=0)
    assert delivery.delivered == ("ops",)
    assert delivery.problems == ()
    assert receiver.statuses == [503, 503, 200]
    assert len({post.headers["idempotency-key"] for post in receiver.posts}) == 1


def test_a_refusal_is_not_tried_again_at_once(database):
    with webhook(lambda _: 400) as receiver:
        delivery = send(DRIFT, hooked(receiver.url, attempts=3), database, backoff=0)
    assert len(receiver.posts) == 1
    assert delivery.delivered == ()
    [problem] = delivery.problems
    assert "'alcohol drifts'" in problem
    assert "'ops'" in problem
    assert "400" in problem


def test_what_could_not_be_delivered_goes_with_the_next_call_in_order(database):
    second = DRIFT.model_copy(update={"key": "hue", "title": "hue drifts"})
    third = DRIFT.model_copy(update={"key": "ash", "title": "ash drifts"})
    with webhook(lambda n: 500 if n < 2 else 200) as receiver:
        settings = hooked(receiver.url, attempts=1)
        assert len(send(DRIFT, settings, database, backoff=0).problems) == 1
        # The first is tried again, fails, and the second waits behind it.
        assert len(send(second, settings, database, backoff=0).problems) == 1
        assert len(receiver.posts) == 2
        assert send(third, settings, database, backoff=0).delivered == ("ops",) * 3
        assert told(receiver) == ["alcohol drifts", "hue drifts", "ash drifts"]
        assert send(third, settings, database).delivered == ()
    assert len(receiver.taken) == 3


def test_one_that_is_refused_does_not_block_the_others(database):
    second = DRIFT.model_copy(update={"key": "hue", "title": "hue drifts"})
    with webhook(lambda n: 422 if n < 2 else 200) as receiver:
        send(DRIFT, hooked(receiver.url), database)
        delivery = send(second, hooked(receiver.url), database)
    assert delivery.delivered == ("ops",)
    assert len(delivery.problems) == 1
    assert told(receiver) == ["hue drifts"]


def test_nobody_there_is_told_and_the_others_get_theirs(database, tmp_path):
    with webhook() as receiver:
        url = receiver.url
    settings = AlertsConfig.model_validate(
        {
            "attempts": 2,
            "targets": {
                "gone": {"type": "webhook", "url": url},
                "kept": {"type": "file", "path": str(tmp_path / "new" / "alerts.jsonl")},
            },
        }
    )
    delivery = send(DRIFT, settings, database, backoff=0)
    assert delivery.delivered == ("kept",)
    assert len(delivery.problems) == 1
    [line] = (tmp_path / "new" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["facts"] == {"distance": 0.3}


def test_what_is_too_old_is_given_up_and_said(database):
    outbox = Outbox(database)
    long_ago = datetime.now(UTC) - KEPT - timedelta(hours=1)
    outbox.add(DRIFT, ["ops"], timedelta(hours=6), now=long_ago)
    outbox.close()
    other = DRIFT.model_copy(update={"key": "hue", "title": "hue drifts"})
    with webhook() as receiver:
        delivery = send(other, hooked(receiver.url), database)
    assert told(receiver) == ["hue drifts"]
    assert "given up" in delivery.problems[0]


def test_without_a_database_it_is_told_all_the_same(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with webhook() as receiver:
        delivery = send(DRIFT, hooked(receiver.url), f"sqlite:///{tmp_path}/file/evergreen.db")
        assert delivery.delivered == ("ops",)
        assert len(delivery.problems) == 1
        assert send(DRIFT, hooked(receiver.url), "no address").delivered == ("ops",)
    assert len(receiver.posts) == 2


def test_the_same_alert_from_many_at_once_is_told_once(database):
    with webhook() as receiver:
        settings = hooked(receiver.url)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: send(DRIFT, settings, database), range(16)))
    assert len(receiver.posts) == 1


def test_secrets_are_looked_up_when_sending_and_never_show(database):
    headers = {"Authorization": "Bearer ${ALERT_TOKEN}"}
    with webhook(lambda n: 200 if n == 0 else 403) as receiver:
        settings = hooked(receiver.url + "/in?token=${ALERT_TOKEN}", target={"headers": headers})
        assert "${" not in settings.model_dump_json()  # orchestrators would put the secret there
        unset = send(DRIFT, settings, database, environ={})
        assert receiver.posts == []
        assert "ALERT_TOKEN is not set" in unset.problems[0]
        found = send(DRIFT, settings, database, environ={"ALERT_TOKEN": "s3cr3t-word"})
        assert found.delivered == ("ops",)
        other = DRIFT.model_copy(update={"key": "hue"})
        refused = send(other, settings, database, environ={"ALERT_TOKEN": "s3cr3t-word"})
    assert receiver.posts[0].headers["authorization"] == "Bearer s3cr3t-word"
    assert receiver.posts[0].path == "/in?token=s3cr3t-word"
    assert "403" in refused.problems[0]
    assert "s3cr3t" not in str(refused)


def test_another_channel_takes_part_and_may_break(database):
    letters = []

    def broken(letter):
        letters.append(letter)
        raise RuntimeError("bad day")

    empty = AlertsConfig()
    first = send(DRIFT, empty, database, also={"stack": broken})
    assert "bad day" in first.problems[0]
    second = send(DRIFT, empty, database, also={"stack": letters.append})
    assert (second.delivered, second.suppressed) == (("stack",), ("stack",))
    assert [letter.alert for letter in letters] == [DRIFT, DRIFT]
    note = DRIFT.model_copy(update={"severity": "info", "key": "note"})
    assert send(note, empty, database, also={"stack": letters.append}).delivered == ()


def test_console_and_file_need_no_settings(database, capsys):
    settings = AlertsConfig.model_validate({"targets": {"console": None, "file": None}})
    assert send(DRIFT, settings, database).delivered == ("console", "file")
    shown = capsys.readouterr().err
    assert "[warning] wine: alcohol drifts" in shown
    assert "distance: 0.3" in shown
    file = Home.locate().logs / "alerts.jsonl"
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1


def test_slack_gets_its_text_escaped(database):
    settings = AlertsConfig.model_validate(
        {"targets": {"slack": {"type": "slack", "url": "${SLACK_WEBHOOK}"}}}
    )
    alert = Alert.of("rolled_back", "wine", "error rate > 5 % & rising <!channel>")
    with webhook() as receiver:
        environ = {"SLACK_WEBHOOK": f"{receiver.url}/services/T0/B0/secret"}
        assert send(alert, settings, database, environ=environ).delivered == ("slack",)
    [post] = receiver.posts
    assert post.path == "/services/T0/B0/secret"
    first = post.content["text"].splitlines()[0]
    assert first == "[critical] wine: error rate &gt; 5 % &amp; rising &lt;!channel&gt;"
