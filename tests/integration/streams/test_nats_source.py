"""NATS JetStream on a real server: each message is one row."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from nats.js.api import RetentionPolicy, StorageType

from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.size import table_size
from evergreen.data.source_config import NatsSource
from evergreen.data.sources import describe_source, read_source
from evergreen.data.sources.kept_rows import read_manifest
from evergreen.data.sources.streams import known_rows, open_stream
from evergreen.errors import InputError, UnreachableError
from tests.support.nats_server import PASSWORD, VARIABLES, running_nats
from tests.support.nats_streams import kept_in, numbered, read, source_of
from tests.support.receivers import make_certificate


def test_messages_become_rows_in_their_order(server, stream, tmp_path):
    records = [
        {"n": 1, "who": {"name": "Ann", "age": 31}, "paid": True, "tags": ["x"]},
        {"n": 2, "who": {"name": None, "age": 40}, "paid": False, "late": 1.5},
        {"n": None, "who": {"name": "Bo", "age": 2}, "paid": True, "late": "no"},
    ]
    server.publish(stream, records)
    frame = read(source_of(server, stream, batch_rows=2))
    assert list(frame) == ["n", "paid", "tags", "who.name", "who.age", "late"]
    assert frame["who.age"].tolist() == [31, 40, 2]
    assert frame["late"].tolist()[1:] == ["1.5", "no"]
    kinds = frame.dtypes.astype(str).to_dict()
    assert (kinds["n"], kinds["paid"], kinds["tags"]) == ("float64", "bool", "str")


def test_what_is_read_piece_by_piece_is_the_same_table(server, stream, tmp_path):
    server.publish(stream, [*numbered(0, 500), {"n": "many", "late": 2}])
    server.publish(stream, numbered(500, 900))
    source = source_of(server, stream, batch_rows=150)
    whole = Dataset.write(read(source), tmp_path / "whole.parquet")
    engine = Engine(name="external", reason="asked for")
    pieces = ingest(source, tmp_path / "pieces.parquet", engine, VARIABLES)
    assert pieces.rows == 901
    assert pieces.fingerprint == whole.fingerprint
    assert pieces.source == describe_source(source)


def test_later_reads_add_what_is_new(server, stream):
    source = source_of(server, stream, batch_rows=100)
    fingerprints = []
    for first, last in ((0, 30), (30, 70), (70, 400), (400, 410)):
        server.publish(stream, numbered(first, last))
        assert read(source)["n"].tolist() == list(range(last))
        opened = open_stream(source, VARIABLES, piece_rows=64)
        assert opened.fingerprint == open_stream(source, VARIABLES, piece_rows=7).fingerprint
        fingerprints.append(opened.fingerprint)
        parts = [part.rows for part in read_manifest(kept_in(source)).parts]
        assert sum(parts) == last
        assert max(parts) <= 100
        assert len(list(kept_in(source).iterdir())) == len(parts) + 1
    assert len({str(each) for each in fingerprints}) == 4
    # Small reads go into one part: of 30, 40 and 30 rows there is one.
    assert parts == [70, 100, 100, 100, 40]


def test_a_stream_may_be_read_from_any_row_on(server, stream):
    server.publish(stream, numbered(0, 250))
    source = source_of(server, stream, batch_rows=100)
    opened = open_stream(source, VARIABLES, piece_rows=30)
    server.publish(stream, numbered(250, 300))
    assert len(read(source)) == 300  # replaces the last part
    assert opened.rows == 250
    for start in (0, 29, 100, 130, 249, 250):
        found = [n for piece in opened.read(["n"], start) for n in piece["n"].to_pylist()]
        assert found == list(range(start, 250))
    with pytest.raises(InputError, match="Leave partitions out"):
        known_rows(opened, "the stream", "batch.partitions")


def test_only_messages_of_a_subject(server, stream):
    server.publish(stream, numbered(0, 20), subject="eu.north")
    server.publish(stream, numbered(20, 40), subject="us")
    server.publish(stream, numbered(40, 60), subject="eu.south")
    source = source_of(server, stream, subject=f"{stream.lower()}.eu.*", name="europe")
    assert read(source)["n"].tolist() == [*range(20), *range(40, 60)]
    assert describe_source(source).endswith(f"/{stream} subject {stream.lower()}.eu.*")
    assert table_size(source, VARIABLES).rows == 40
    with pytest.raises(InputError, match=r"read under this name .*data\.source\.name"):
        read(source_of(server, stream, name="europe"))
    nothing = source_of(server, stream, subject=f"{stream.lower()}.asia", name="asia")
    with pytest.raises(InputError, match=r"no messages with the subject \w+\.asia"):
        read(nothing)


def test_the_size_is_known_before_anything_is_kept(server, stream):
    source = source_of(server, stream)
    assert table_size(source, VARIABLES).rows == 0
    server.publish(stream, numbered(0, 2_500))
    size = table_size(source, VARIABLES)
    assert (size.rows, size.columns, size.exact_rows) == (2_500, 3, True)
    assert not kept_in(source).exists()
    read(source)
    server.publish(stream, numbered(0, 10))
    assert table_size(source, VARIABLES).rows == 2_510


@pytest.mark.parametrize(
    ("message", "complaint"),
    [(b"{oops", "no valid JSON"), (b"[1, 2]", "a list instead of an object"), (b"", "JSON")],
)
def test_a_message_that_is_no_row_is_named(server, stream, message, complaint):
    server.publish(stream, [*numbered(0, 15), message, *numbered(15, 30)])
    source = source_of(server, stream, batch_rows=10)
    for _ in range(2):
        with pytest.raises(InputError, match=complaint) as caught:
            read(source)
        assert "message 16" in str(caught.value)
        assert f"nats stream rmm {stream} 16" in str(caught.value)
        assert read_manifest(kept_in(source)).rows == 15
    server.act(lambda js: js.delete_msg(stream, 16))
    assert read(source)["n"].tolist() == list(range(30))


def test_a_stream_that_others_empty_is_refused(server):
    server.make("JOBS", retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.MEMORY)
    with pytest.raises(InputError, match="retention 'workqueue'"):
        read(source_of(server, "JOBS"))


def test_a_name_that_is_nearly_right(server, stream):
    with pytest.raises(InputError, match=f"did you mean '{stream}'"):
        read(source_of(server, stream[:-1]))


def test_a_stream_without_messages(server, stream):
    with pytest.raises(InputError, match="there are no messages"):
        read(source_of(server, stream))


def test_a_wrong_password_is_unreachable_and_never_shown(server, stream, caplog):
    caplog.set_level(logging.DEBUG)
    source = source_of(server, stream)
    with pytest.raises(UnreachableError, match="check user and password") as caught:
        read_source(source, {**VARIABLES, "NATS_PASSWORD": "wr0ng-value"})
    assert "wr0ng-value" not in str(caught.value) + caplog.text
    with pytest.raises(InputError, match="NATS_PASSWORD is not set"):
        read_source(source, {"NATS_USER": "writer"})


def test_a_user_who_may_not_read(server, stream):
    source = NatsSource(url=server.url(stream, user="stranger"), timeout=3)
    with pytest.raises(UnreachableError, match="does not permit") as caught:
        read(source)
    assert PASSWORD not in str(caught.value)


def test_few_permissions_do(server):
    server.make("ORDERS")
    server.publish("ORDERS", numbered(0, 30))
    source = NatsSource(url=server.url("ORDERS", user="reader"), timeout=3)
    assert table_size(source, VARIABLES).rows == 30
    assert len(read(source)) == 30


def test_no_server(server, stream):
    source = NatsSource(url=f"nats://127.0.0.1:1/{stream}", timeout=2)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/.* does not answer"):
        read(source)


def test_credentials_are_not_sent_in_the_clear(server, stream):
    source = NatsSource(url=server.url(stream, scheme="tls"), timeout=2)
    with pytest.raises(UnreachableError, match="offers no TLS"):
        read(source)


def test_tls(tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path / "server.pem")
    with running_nats(tmp_path, tls=certificate) as server:
        source = NatsSource(url=server.url("SAFE", scheme="tls"), timeout=5)
        with pytest.raises(UnreachableError, match="certificate"):
            read(source)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(InputError, match="no stream 'SAFE'"):
            read(source)


def test_a_server_without_jetstream(tmp_path):
    with (
        running_nats(tmp_path, jetstream=False) as server,
        pytest.raises(UnreachableError, match="has no JetStream"),
    ):
        read(source_of(server, "ANY"))


def test_readers_leave_nothing_at_the_server(server, stream):
    server.publish(stream, numbered(0, 30))
    read(source_of(server, stream))
    table_size(source_of(server, stream), VARIABLES)

    async def consumers(js):
        for _ in range(50):
            found = await js.consumers_info(stream)
            if not found:
                return 0
            await asyncio.sleep(0.1)
        return len(found)

    assert server.act(consumers) == 0
    assert (
        json.loads((kept_in(source_of(server, stream)) / "manifest.json").read_text())["last"] == 30
    )
