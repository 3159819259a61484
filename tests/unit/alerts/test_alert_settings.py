"""The section ``alerts``: what it takes, what it refuses, and where its paths begin."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from evergreen.alerts.alert import Alert
from evergreen.alerts.settings import AlertsConfig
from evergreen.use_case import load_use_case

MAIL = {"type": "email", "host": "mail", "sender": "a@b.org", "to": ["c@d.org"]}


def config(**target):
    return AlertsConfig.model_validate({"targets": {"ops": target}})


@pytest.mark.parametrize(
    "target",
    [
        {"type": "pager"},
        {"type": "file", "colour": "red"},
        {"type": "webhook", "url": "ftp://example.org"},
        {"type": "slack", "url": "https://hooks.slack.com/services/T0/B0/written"},
        {**MAIL, "password": "written", "username": "me"},
        {**MAIL, "password": "${SMTP_PASSWORD}"},
        {**MAIL, "password": "${SMTP_PASSWORD}", "username": "me", "security": "none"},
        {**MAIL, "to": []},
        {**MAIL, "sender": "a@b.org\nBcc: x@y.org"},
        {"type": "console", "minimum": "loud"},
    ],
)
def test_what_cannot_work_or_would_leak_is_refused(target):
    with pytest.raises(ValidationError):
        config(**target)


def test_references_are_kept_in_the_form_that_nobody_resolves():
    target = config(**MAIL, username="${SMTP_USER}", password="${SMTP_PASSWORD}").targets["ops"]
    assert (target.username, target.password) == ("$(SMTP_USER)", "$(SMTP_PASSWORD)")


def test_paths_start_at_the_file(tmp_path):
    file = tmp_path / "orders.yaml"
    file.write_text(
        "task: classification\ndata: {source: table.csv, target: y}\n"
        "alerts: {targets: {console: , kept: {type: file, path: told/alerts.jsonl}}}\n",
        encoding="utf-8",
    )
    targets = load_use_case(file).alerts.targets
    assert targets["kept"].path == str(tmp_path / "told" / "alerts.jsonl")
    assert targets["console"].type == "console"


def test_titles_are_one_line_and_texts_fit():
    alert = Alert.of("drift", "wine", "two\nlines " * 100, "x" * 10_000)
    assert "\n" not in alert.title
    assert len(alert.title) == 200
    assert len(alert.text) == 3000
    assert (alert.severity, alert.key) == ("warning", "drift")
    assert Alert.of("disk_full", "wine", "full").severity == "critical"
