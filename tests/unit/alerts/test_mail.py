"""Alerts by mail, against a server that speaks SMTP with STARTTLS and a login."""

from __future__ import annotations

import pytest

from evergreen.alerts.alert import Alert
from evergreen.alerts.sending import send
from evergreen.alerts.settings import AlertsConfig
from tests.support.receivers import mail_server, make_certificate

ALERT = Alert.of("performance_drop", "wine", "loss rose\nBcc: x@example.org", "By 0.2 – surely.")
LOGIN = ("evergreen", "s3cr3t-word")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path / 'evergreen.db'}"


def mailed(port, **settings):
    target = {
        "type": "email",
        "host": "127.0.0.1",
        "port": port,
        "sender": "evergreen@example.org",
        "to": ["ops@example.org", "ds@example.org"],
        **settings,
    }
    return AlertsConfig.model_validate({"targets": {"team": target}, "attempts": 2})


def with_login(port):
    return mailed(port, username="evergreen", password="${SMTP_PASSWORD}")


def test_a_plain_server_gets_one_message(database):
    with mail_server() as server:
        settings = mailed(server.port, security="none")
        assert send(ALERT, settings, database).delivered == ("team",)
        assert send(ALERT, settings, database).suppressed == ("team",)
    [message] = server.messages
    assert message["Subject"] == "[critical] wine: loss rose Bcc: x@example.org"
    assert message["Bcc"] is None
    assert message["To"] == "ops@example.org, ds@example.org"
    assert message["Message-ID"]
    assert "By 0.2 – surely." in message.get_content()


def test_login_goes_over_an_encrypted_connection(database, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate=certificate, login=LOGIN) as server:
        environ = {"SMTP_PASSWORD": LOGIN[1]}
        delivery = send(ALERT, with_login(server.port), database, environ=environ)
    assert delivery.delivered == ("team",), delivery.problems
    assert server.logins == [LOGIN]
    assert server.encrypted == [True]


def test_a_wrong_password_is_said_and_does_not_show(database, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate=certificate, login=LOGIN) as server:
        environ = {"SMTP_PASSWORD": "wrong-word"}
        delivery = send(ALERT, with_login(server.port), database, environ=environ, backoff=0)
    assert server.messages == []
    assert "535" in delivery.problems[0]
    assert "wrong-word" not in str(delivery)


def test_a_certificate_that_nobody_vouches_for_is_refused(database, certificate):
    with mail_server(certificate=certificate, login=LOGIN) as server:
        environ = {"SMTP_PASSWORD": LOGIN[1]}
        delivery = send(ALERT, with_login(server.port), database, environ=environ, backoff=0)
    assert (server.messages, server.logins) == ([], [])
    assert "certificate" in delivery.problems[0]


def test_a_server_without_encryption_gets_nothing(database):
    with mail_server() as server:
        delivery = send(ALERT, mailed(server.port), database, backoff=0)
    assert server.messages == []
    assert "STARTTLS" in delivery.problems[0]


def test_a_server_that_is_busy_gets_it_later(database):
    with mail_server() as server:
        settings = mailed(server.port, security="none")
        server.refuse = "451 come again"
        delivery = send(ALERT, settings, database, backoff=0)
        assert "451 come again" in delivery.problems[0]
        server.refuse = None
        assert send(ALERT, settings, database).delivered == ("team",)
    assert len(server.messages) == 1


def test_no_server_is_a_problem_and_no_failure(database):
    with mail_server() as server:
        port = server.port
    delivery = send(ALERT, mailed(port, security="none"), database, backoff=0)
    assert f"127.0.0.1:{port}" in delivery.problems[0]
