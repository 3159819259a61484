"""The web source against a real local server: formats, failures, secrets."""

from __future__ import annotations

import gzip
import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic

import pandas as pd
import pytest

from evergreen.data.source_config import HttpSource
from evergreen.data.sources import describe_source, read_source
from evergreen.errors import InputError, UnreachableError
from tests.support.web_server import Reply, serving

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
EXPECTED = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
TOKEN = {"TOKEN": "s3cret-value"}
AUTHORIZATION = {"Authorization": "Bearer ${TOKEN}"}


def _read(url, environ=None, backoff=0.001, **settings):
    return read_source(HttpSource(url=url, **settings), environ=environ or {}, backoff=backoff)


def _read_replies(*replies, path="/data", **settings):
    """Read from a server that gives these answers in turn, the last one for ever."""
    left = list(replies)
    with serving(lambda _: left.pop(0) if len(left) > 1 else left[0]) as server:
        return _read(server.url + path, **settings)


@pytest.mark.parametrize(
    ("path", "reply", "settings"),
    [
        ("/d", Reply("a,b\n1,x\n2,y\n", content_type="text/csv"), {}),
        ("/d.csv", Reply("a;b\n1;x\n2;y\n", content_type="text/plain"), {}),
        ("/d.tsv", Reply("a\tb\n1\tx\n2\ty\n", content_type=None), {}),
        ("/d?x=1", Reply("a,b\n1,x\n2,y\n", content_type="text/plain"), {"format": "csv"}),
        ("/d", Reply(json.dumps(ROWS)), {}),
        ("/d", Reply(json.dumps(ROWS), content_type="application/vnd.api+json"), {}),
        ("/d", Reply(json.dumps({"data": {"rows": ROWS}})), {"records": "data.rows"}),
        ("/d", Reply(json.dumps({"a": [1, 2], "b": ["x", "y"]})), {}),
        ("/d", Reply(EXPECTED.to_json()), {}),
        ("/d", Reply("\ufeff" + json.dumps(ROWS)), {}),
        ("/d", Reply("\n".join(map(json.dumps, ROWS)), content_type="application/x-ndjson"), {}),
        ("/d.jsonl", Reply("\n\n".join(map(json.dumps, ROWS)), content_type="text/plain"), {}),
    ],
)
def test_formats_are_told_by_content_type_ending_or_setting(path, reply, settings):
    pd.testing.assert_frame_equal(_read_replies(reply, path=path, **settings), EXPECTED)


def test_nested_records_become_dotted_columns():
    frame = _read_replies(Reply(json.dumps([{"a": {"b": 1}, "t": [1]}, {"a": {"b": 2}}])))
    assert frame["a.b"].tolist() == [1, 2]
    assert frame["t"][0] == "[1]"
    assert frame["t"].isna()[1]


def test_compressed_content_is_read():
    body = gzip.compress(b"a,b\n1,x\n2,y\n")
    file = Reply(body, content_type="application/gzip")
    pd.testing.assert_frame_equal(_read_replies(file, path="/d.csv.gz"), EXPECTED)
    transfer = Reply(body, content_type="text/csv", headers={"Content-Encoding": "gzip"})
    pd.testing.assert_frame_equal(_read_replies(transfer), EXPECTED)
    with pytest.raises(InputError, match="damaged or cut short"):
        _read_replies(Reply(body[:-9], content_type="application/gzip"), path="/d.csv.gz")


def test_the_declared_charset_counts_only_where_the_content_is_not_unicode():
    declared = "text/csv; charset=iso-8859-7"
    greek = Reply("όνομα,b\nΑθήνα,1\n".encode("iso-8859-7"), content_type=declared)
    assert _read_replies(greek)["όνομα"][0] == "Αθήνα"
    unicode = Reply("name,b\nMüller,1\n".encode(), content_type=declared)
    assert _read_replies(unicode)["name"][0] == "Müller"


def test_parameters_and_headers_come_from_the_environment():
    with serving(lambda _: Reply(json.dumps(ROWS))) as server:
        _read(
            f"{server.url}/d?fixed=1",
            {**TOKEN, "KEY": "a&b"},
            headers=AUTHORIZATION,
            params={"key": "${KEY}", "fixed": "2"},
        )
    assert server.requests[0].headers["authorization"] == "Bearer s3cret-value"
    assert server.requests[0].query == {"fixed": "2", "key": "a&b"}


def test_user_and_password_in_the_address_become_a_header():
    with serving(lambda _: Reply(json.dumps(ROWS))) as server:
        url = server.url.replace("://", "://user:${PW}@")
        _read(url + "/d", {"PW": "p@ss"})
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwQHNz"


@pytest.mark.parametrize("status", [500, 502, 503, 408, 425, 429])
def test_a_passing_failure_is_tried_again(status):
    bad, good = Reply("oops", status=status), Reply(json.dumps(ROWS))
    pd.testing.assert_frame_equal(_read_replies(bad, bad, good, retries=2), EXPECTED)


def test_a_lasting_failure_is_given_up_with_the_count():
    with (
        serving(lambda _: Reply("oops", status=500)) as server,
        pytest.raises(UnreachableError) as caught,
    ):
        _read(server.url + "/d", retries=2)
    assert f"http {server.url}/d: tried 3 times, without success: answers 500" in str(caught.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_not_tried_again(status):
    with (
        serving(lambda _: Reply("no such\n thing", status=status)) as server,
        pytest.raises((InputError, UnreachableError), match=f"answers {status}"),
    ):
        _read(server.url + "/d")
    assert len(server.requests) == 1


def test_nobody_listening_is_unreachable(unused_tcp_port):
    with pytest.raises(UnreachableError, match=r"tried 2 times.*refused"):
        _read(f"http://127.0.0.1:{unused_tcp_port}/d", retries=1)


def test_an_unknown_host_is_unreachable():
    with pytest.raises(UnreachableError, match="tried once"):
        _read("http://nowhere.invalid/d", retries=0)


def test_a_silent_server_is_given_up(silent_tcp_port):
    with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
        _read(f"http://127.0.0.1:{silent_tcp_port}/d", timeout=0.2, retries=1)


def test_a_truncated_body_is_tried_again_and_never_taken():
    whole = Reply(json.dumps(ROWS))
    torn = Reply("a,b\n1,x\n2,y\n", content_type="text/csv", cut_after=8)
    pd.testing.assert_frame_equal(_read_replies(torn, whole, retries=1), EXPECTED)
    with pytest.raises(UnreachableError, match="tried 2 times"):
        _read_replies(torn, retries=1)


def test_retry_after_in_seconds_is_waited_for():
    replies = [Reply(status=429, headers={"Retry-After": "1"}), Reply(json.dumps(ROWS))]
    begin = monotonic()
    _read_replies(*replies)
    assert monotonic() - begin >= 1


def test_retry_after_as_a_date_is_waited_for():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    replies = [Reply(status=503, headers={"Retry-After": moment}), Reply(json.dumps(ROWS))]
    begin = monotonic()
    _read_replies(*replies)
    assert monotonic() - begin >= 0.9  # the date has whole seconds


def test_a_server_that_asks_for_too_much_patience_is_given_up_at_once():
    with (
        serving(lambda _: Reply(status=429, headers={"Retry-After": "3600"})) as server,
        pytest.raises(UnreachableError, match="asks to come back in 3600 s"),
    ):
        _read(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/csv"])
def test_a_web_page_is_no_table(content_type):
    page = Reply("\n<!DOCTYPE html><html><body>Log in</body></html>", content_type=content_type)
    with pytest.raises(InputError, match=r"web page \(HTML\), not data"):
        _read_replies(page)


def test_data_declared_as_html_is_read_where_the_format_is_given():
    reply = Reply(json.dumps(ROWS), content_type="text/html")
    pd.testing.assert_frame_equal(_read_replies(reply, format="json"), EXPECTED)
    with pytest.raises(InputError, match="web page"):
        _read_replies(reply, path="/d.json")


@pytest.mark.parametrize(
    ("reply", "settings", "message"),
    [
        (Reply(""), {}, "the answer is empty"),
        (Reply("[]"), {}, "no rows"),
        (Reply("a,b\n", content_type="text/csv"), {}, "no rows, only columns: a, b"),
        (Reply('[{"a": 1},'), {}, "no valid JSON at line 1, column 11"),
        (Reply('{"a": 1}\n[2]\n'), {"format": "jsonl"}, "line 2: a list instead of an object"),
        (Reply('{"a": 1}\n{"a": \n'), {"format": "jsonl"}, "line 2: no valid JSON"),
        (Reply("[1, 2]"), {}, "row 1 is a number instead of an object"),
        (Reply('"x"'), {}, "holds text, not a table"),
        (Reply(json.dumps({"data": ROWS})), {}, "set data.source.records to 'data'"),
        (Reply(json.dumps({"p": {"q": ROWS}})), {"records": "p.r"}, "nothing at 'p.r'; .*'p.q'"),
        (Reply(json.dumps({"a": [1, 2], "b": [1]})), {}, "not a table"),
        (Reply("xyz", content_type="application/pdf"), {}, "'application/pdf', which tells no"),
    ],
)
def test_answers_that_are_no_table_are_named(reply, settings, message):
    with pytest.raises(InputError, match=message):
        _read_replies(reply, **settings)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_header_and_variable_but_no_value(status, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UnreachableError) as caught:
        _read_replies(Reply("", status=status), environ=TOKEN, headers=AUTHORIZATION)
    assert "headers: Authorization (from ${TOKEN})" in str(caught.value)
    assert "s3cret-value" not in str(caught.value) + caplog.text
    with pytest.raises(UnreachableError, match=r"give them in data\.source\.headers"):
        _read_replies(Reply("", status=status))


def test_a_server_that_echoes_secrets_does_not_leak_them(caplog):
    caplog.set_level(logging.DEBUG)
    environ = {**TOKEN, "KEY": "k&y value"}

    def answer(request):
        return Reply(f"bad {request.headers['authorization']} {request.query}", status=400)

    with serving(answer) as server, pytest.raises(InputError) as caught:
        url = server.url + "/d?key=${KEY}"
        _read(url, environ, headers=AUTHORIZATION, params={"token": "${TOKEN}"})
    assert server.requests[0].query == {"key": "k&y value", "token": "s3cret-value"}
    text = str(caught.value) + caplog.text
    assert "answers 400" in text
    assert not any(secret in text for secret in ("s3cret-value", "k&y value", "k%26y"))


@pytest.mark.parametrize("value", ["s3cret\nvalue", "s3cret-välue", "s3cret-value\n"])
def test_a_header_that_cannot_be_sent_is_named_without_its_value(value):
    with pytest.raises(InputError, match=r"data\.source\.headers\.Authorization holds") as caught:
        _read("http://127.0.0.1:9/", {"TOKEN": value}, headers=AUTHORIZATION)
    assert "s3cret" not in str(caught.value)


def test_headers_stay_with_their_server_on_redirects():
    with serving(lambda _: Reply(json.dumps(ROWS))) as other:
        redirect = Reply(status=302, headers={"Location": other.url + "/d"})
        headers = {**AUTHORIZATION, "X-Api-Key": "${TOKEN}"}
        frame = _read_replies(redirect, environ=TOKEN, headers=headers)
    pd.testing.assert_frame_equal(frame, EXPECTED)
    assert not {"authorization", "x-api-key"} & other.requests[0].headers.keys()


def test_headers_follow_redirects_on_their_own_server():
    def answer(request):
        if request.path == "/old":
            return Reply(status=301, headers={"Location": "/new"})
        return Reply(json.dumps(ROWS))

    with serving(answer) as server:
        _read(server.url + "/old", TOKEN, headers={"X-Api-Key": "${TOKEN}"})
    assert server.requests[1].headers["x-api-key"] == "s3cret-value"


def test_endless_redirects_are_bad_input():
    with pytest.raises(InputError, match="redirects"):
        _read_replies(Reply(status=302, headers={"Location": "/data"}))


def test_the_description_shows_no_secret():
    source = HttpSource(url="https://u:pw@h/x.csv?api_key=abc&page=1")
    assert describe_source(source) == "http https://***@h/x.csv?api_key=***&page=1"


@pytest.fixture
def unused_tcp_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def silent_tcp_port():
    """A port whose server takes connections and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
