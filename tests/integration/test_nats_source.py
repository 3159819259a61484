"""NATS JetStream on a real server: each message is one row, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from nats.js.api import RetentionPolicy, StorageType

from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.size import table_size
from evergreen.data.source_config import NatsSource
from evergreen.data.sources import describe_source, kept_rows, nats_client, read_source
from evergreen.data.sources.kept_rows import read_manifest
from evergreen.data.sources.streams import known_rows, open_stream
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from tests.support.nats_server import PASSWORD, VARIABLES, NatsServer, running_nats
from tests.support.receivers import make_certificate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that every test here gives a stream of its own."""
    with running_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def stream(server, request):
    """The name of an empty stream."""
    name = request.node.name.partition("[")[0].upper()[:32]
    server.make(name)
    yield name
    server.act(lambda js: js.delete_stream(name))


def _source(server: NatsServer, stream: str, **settings) -> NatsSource:
    return NatsSource(url=server.url(stream), **{"timeout": 5, **settings})


def _read(source: NatsSource) -> pd.DataFrame:
    return read_source(source, environ=VARIABLES)


def _numbered(first: int, last: int) -> list[dict]:
    return [{"n": n, "kind": "ab"[n % 2], "half": n / 2} for n in range(first, last)]


def _folder(source: NatsSource) -> Path:
    return Home.locate().streams / (source.name or source.url.rpartition("/")[2])


def test_messages_become_rows_in_their_order(server, stream, tmp_path):
    records = [
        {"n": 1, "who": {"name": "Ann", "age": 31}, "paid": True, "tags": ["x"]},
        {"n": 2, "who": {"name": None, "age": 40}, "paid": False, "late": 1.5},
        {"n": None, "who": {"name": "Bo", "age": 2}, "paid": True, "late": "no"},
    ]
    server.publish(stream, records)
    frame = _read(_source(server, stream, batch_rows=2))
    assert list(frame) == ["n", "paid", "tags", "who.name", "who.age", "late"]
    assert frame["who.age"].tolist() == [31, 40, 2]
    assert frame["late"].tolist()[1:] == ["1.5", "no"]
    kinds = frame.dtypes.astype(str).to_dict()
    assert (kinds["n"], kinds["paid"], kinds["tags"]) == ("float64", "bool", "str")


def test_what_is_read_piece_by_piece_is_the_same_table(server, stream, tmp_path):
    server.publish(stream, [*_numbered(0, 500), {"n": "many", "late": 2}])
    server.publish(stream, _numbered(500, 900))
    source = _source(server, stream, batch_rows=150)
    whole = Dataset.write(_read(source), tmp_path / "whole.parquet")
    engine = Engine(name="external", reason="asked for")
    pieces = ingest(source, tmp_path / "pieces.parquet", engine, VARIABLES)
    assert pieces.rows == 901
    assert pieces.fingerprint == whole.fingerprint
    assert pieces.source == describe_source(source)


def test_later_reads_add_what_is_new(server, stream):
    source = _source(server, stream, batch_rows=100)
    fingerprints = []
    for first, last in ((0, 30), (30, 70), (70, 400), (400, 410)):
        server.publish(stream, _numbered(first, last))
        assert _read(source)["n"].tolist() == list(range(last))
        opened = open_stream(source, VARIABLES, piece_rows=64)
        assert opened.fingerprint == open_stream(source, VARIABLES, piece_rows=7).fingerprint
        fingerprints.append(opened.fingerprint)
        parts = [part.rows for part in read_manifest(_folder(source)).parts]
        assert sum(parts) == last
        assert max(parts) <= 100
        assert len(list(_folder(source).iterdir())) == len(parts) + 1
    assert len({str(each) for each in fingerprints}) == 4
    # Small reads go into one part: of 30, 40 and 30 rows there is one.
    assert parts == [70, 100, 100, 100, 40]


def test_a_stream_may_be_read_from_any_row_on(server, stream):
    server.publish(stream, _numbered(0, 250))
    source = _source(server, stream, batch_rows=100)
    opened = open_stream(source, VARIABLES, piece_rows=30)
    server.publish(stream, _numbered(250, 300))
    assert len(_read(source)) == 300  # replaces the last part
    assert opened.rows == 250
    for start in (0, 29, 100, 130, 249, 250):
        found = [n for piece in opened.read(["n"], start) for n in piece["n"].to_pylist()]
        assert found == list(range(start, 250))
    with pytest.raises(InputError, match="Leave partitions out"):
        known_rows(opened, "the stream", "batch.partitions")


def test_only_messages_of_a_subject(server, stream):
    server.publish(stream, _numbered(0, 20), subject="eu.north")
    server.publish(stream, _numbered(20, 40), subject="us")
    server.publish(stream, _numbered(40, 60), subject="eu.south")
    source = _source(server, stream, subject=f"{stream.lower()}.eu.*", name="europe")
    assert _read(source)["n"].tolist() == [*range(20), *range(40, 60)]
    assert describe_source(source).endswith(f"/{stream} subject {stream.lower()}.eu.*")
    assert table_size(source, VARIABLES).rows == 40
    with pytest.raises(InputError, match=r"read under this name .*data\.source\.name"):
        _read(_source(server, stream, name="europe"))
    nothing = _source(server, stream, subject=f"{stream.lower()}.asia", name="asia")
    with pytest.raises(InputError, match=r"no messages with the subject \w+\.asia"):
        _read(nothing)


def test_the_size_is_known_before_anything_is_kept(server, stream):
    source = _source(server, stream)
    assert table_size(source, VARIABLES).rows == 0
    server.publish(stream, _numbered(0, 2_500))
    size = table_size(source, VARIABLES)
    assert (size.rows, size.columns, size.exact_rows) == (2_500, 3, True)
    assert not _folder(source).exists()
    _read(source)
    server.publish(stream, _numbered(0, 10))
    assert table_size(source, VARIABLES).rows == 2_510


@pytest.mark.parametrize(
    ("message", "complaint"),
    [(b"{oops", "no valid JSON"), (b"[1, 2]", "a list instead of an object"), (b"", "JSON")],
)
def test_a_message_that_is_no_row_is_named(server, stream, message, complaint):
    server.publish(stream, [*_numbered(0, 15), message, *_numbered(15, 30)])
    source = _source(server, stream, batch_rows=10)
    for _ in range(2):
        with pytest.raises(InputError, match=complaint) as caught:
            _read(source)
        assert "message 16" in str(caught.value)
        assert f"nats stream rmm {stream} 16" in str(caught.value)
        assert read_manifest(_folder(source)).rows == 15
    server.act(lambda js: js.delete_msg(stream, 16))
    assert _read(source)["n"].tolist() == list(range(30))


class KilledReaders:
    """Readers in processes that die; see `tests.support.killed_reader`."""

    def __init__(self, source: NatsSource, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killed_reader", source.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, how: str, when: float) -> bool:
        """Let a reader run; return whether it was killed."""
        print(how, when, file=self._process.stdin, flush=True)
        ended = int(self._process.stdout.readline())
        assert ended in (0, signal.SIGKILL)
        return ended == signal.SIGKILL

    def close(self) -> None:
        """End the process that forks them."""
        self._process.communicate(timeout=30)


@pytest.fixture
def killed(server, stream):
    source = _source(server, stream, batch_rows=40)
    readers = KilledReaders(source, {**os.environ, **VARIABLES})
    yield source, readers
    readers.close()


def test_a_reader_killed_at_the_worst_moments_neither_loses_nor_doubles(server, stream, killed):
    source, readers = killed
    total = deaths = 0
    for published in (25, 90):  # a part that the next reading replaces, and several
        for how in ("replace", "replaced", "unlink"):
            for number in (1, 2, 3, 4):
                server.publish(stream, _numbered(total, total + published))
                total += published
                deaths += readers.run(how, number)
                manifest = read_manifest(_folder(source))
                if manifest is not None and number % 2:
                    assert manifest.rows == manifest.last
                    assert manifest.rows <= total
    assert deaths >= 15
    assert _read(source)["n"].tolist() == list(range(total))
    named = {"manifest.json", *(part.file for part in read_manifest(_folder(source)).parts)}
    assert {path.name for path in _folder(source).iterdir()} == named


def test_a_reader_killed_at_any_moment_neither_loses_nor_doubles(server, stream, killed):
    source, readers = killed
    chance = random.Random(4)
    total = deaths = 0
    for _ in range(8):
        server.publish(stream, _numbered(total, total + 400))
        total += 400
        deaths += readers.run("seconds", chance.uniform(0.01, 0.4))
    assert deaths
    assert _read(source)["n"].tolist() == list(range(total))


def test_readers_at_the_same_time_take_turns(server, stream):
    server.publish(stream, _numbered(0, 3_000))
    source = _source(server, stream, batch_rows=100)
    found: list[list[int]] = []
    readers = [
        threading.Thread(target=lambda: found.append(_read(source)["n"].tolist())) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [list(range(3_000))] * 3


def test_a_reader_that_takes_too_long_is_named(server, stream, monkeypatch):
    server.publish(stream, _numbered(0, 3))
    monkeypatch.setattr(kept_rows, "PATIENCE", 0.1)
    Home.locate().locks.mkdir(parents=True)
    with (
        FileLock(Home.locate().locks / f"stream-{stream}.lock"),
        pytest.raises(UnreachableError, match="Another process"),
    ):
        _read(_source(server, stream))


def test_deliveries_that_go_missing_are_asked_for_again(server, stream, monkeypatch):
    server.publish(stream, _numbered(0, 300))
    take, count = nats_client._Pull._take, 0

    async def lossy(self, message):
        nonlocal count
        count += 1
        if count != 120:
            await take(self, message)

    monkeypatch.setattr(nats_client._Pull, "_take", lossy)
    assert _read(_source(server, stream, timeout=2))["n"].tolist() == list(range(300))
    assert count > 300


def test_a_stream_that_was_made_anew_is_not_mixed_with_the_old_one(server, stream):
    source = _source(server, stream, name="mine")
    server.publish(stream, _numbered(0, 30))
    _read(source)
    server.act(lambda js: js.delete_stream(stream))
    with pytest.raises(InputError, match=f"no stream '{stream}'"):
        _read(source)
    server.make(stream)
    server.publish(stream, _numbered(100, 150))
    with pytest.raises(InputError, match="deleted and made anew") as caught:
        _read(source)
    assert "30 rows" in str(caught.value)
    assert str(_folder(source)) in str(caught.value)
    assert read_manifest(_folder(source)).rows == 30
    assert _read(_source(server, stream, name="new"))["n"].tolist() == list(range(100, 150))


def test_a_stream_that_was_set_back_is_refused(server, stream):
    source = _source(server, stream)
    server.publish(stream, _numbered(0, 30))
    _read(source)
    manifest = read_manifest(_folder(source)).model_copy(update={"end": 31})
    (_folder(source) / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(InputError, match="set back: it ends with message 30, but when"):
        _read(source)


def test_messages_dropped_before_they_were_read_are_counted(server, caplog):
    server.make("SHORT", max_msgs=50)
    source = _source(server, "SHORT")
    server.publish("SHORT", _numbered(0, 80))
    assert _read(source)["n"].tolist() == list(range(30, 80))
    server.publish("SHORT", _numbered(80, 120))
    assert _read(source)["n"].tolist() == list(range(30, 120))
    assert not caplog.records
    server.publish("SHORT", _numbered(120, 190))
    assert _read(source)["n"].tolist() == [*range(30, 120), *range(140, 190)]
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "20 messages (121 to 140) were dropped" in record.getMessage()
    _read(source)
    assert len(caplog.records) == 1


def test_dropped_messages_of_other_subjects_that_were_seen_are_none_of_ours(server, caplog):
    server.make("MIXED", max_msgs=50)
    source = _source(server, "MIXED", subject="mixed.mine")
    server.publish("MIXED", _numbered(0, 5), subject="mine")
    for others in (45, 40):  # the second time, all of ours are dropped
        server.publish("MIXED", _numbered(0, others), subject="others")
        assert _read(source)["n"].tolist() == list(range(5))
    assert not caplog.records
    server.publish("MIXED", _numbered(0, 60), subject="others")
    _read(source)
    assert "up to 10 messages" in caplog.text


def test_rows_stay_when_the_stream_is_emptied(server, stream):
    source = _source(server, stream)
    server.publish(stream, _numbered(0, 30))
    _read(source)
    server.act(lambda js: js.purge_stream(stream))
    assert len(_read(source)) == 30
    assert table_size(source, VARIABLES).rows == 30


def test_a_damaged_folder_is_named(server, stream):
    source = _source(server, stream)
    server.publish(stream, _numbered(0, 30))
    _read(source)
    (part,) = _folder(source).glob("*.parquet")
    part.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="Delete the folder"):
        _read(source)
    (_folder(source) / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="Delete the folder"):
        _read(source)


def test_a_stream_that_others_empty_is_refused(server):
    server.make("JOBS", retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.MEMORY)
    with pytest.raises(InputError, match="retention 'workqueue'"):
        _read(_source(server, "JOBS"))


def test_a_name_that_is_nearly_right(server, stream):
    with pytest.raises(InputError, match=f"did you mean '{stream}'"):
        _read(_source(server, stream[:-1]))


def test_a_stream_without_messages(server, stream):
    with pytest.raises(InputError, match="there are no messages"):
        _read(_source(server, stream))


def test_a_wrong_password_is_unreachable_and_never_shown(server, stream, caplog):
    caplog.set_level(logging.DEBUG)
    source = _source(server, stream)
    with pytest.raises(UnreachableError, match="check user and password") as caught:
        read_source(source, {**VARIABLES, "NATS_PASSWORD": "wr0ng-value"})
    assert "wr0ng-value" not in str(caught.value) + caplog.text
    with pytest.raises(InputError, match="NATS_PASSWORD is not set"):
        read_source(source, {"NATS_USER": "writer"})


def test_a_user_who_may_not_read(server, stream):
    source = NatsSource(url=server.url(stream, user="stranger"), timeout=3)
    with pytest.raises(UnreachableError, match="does not permit") as caught:
        _read(source)
    assert PASSWORD not in str(caught.value)


def test_few_permissions_do(server):
    server.make("ORDERS")
    server.publish("ORDERS", _numbered(0, 30))
    source = NatsSource(url=server.url("ORDERS", user="reader"), timeout=3)
    assert table_size(source, VARIABLES).rows == 30
    assert len(_read(source)) == 30


def test_no_server(server, stream):
    source = NatsSource(url=f"nats://127.0.0.1:1/{stream}", timeout=2)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/.* does not answer"):
        _read(source)


def test_credentials_are_not_sent_in_the_clear(server, stream):
    source = NatsSource(url=server.url(stream, scheme="tls"), timeout=2)
    with pytest.raises(UnreachableError, match="offers no TLS"):
        _read(source)


def test_tls(tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path / "server.pem")
    with running_nats(tmp_path, tls=certificate) as server:
        source = NatsSource(url=server.url("SAFE", scheme="tls"), timeout=5)
        with pytest.raises(UnreachableError, match="certificate"):
            _read(source)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(InputError, match="no stream 'SAFE'"):
            _read(source)


def test_a_server_without_jetstream(tmp_path):
    with (
        running_nats(tmp_path, jetstream=False) as server,
        pytest.raises(UnreachableError, match="has no JetStream"),
    ):
        _read(_source(server, "ANY"))


def test_a_server_that_goes_away_is_gone_on_with(tmp_path, monkeypatch):
    keep = kept_rows.KeptRows.append
    with running_nats(tmp_path) as server:
        server.make("LONG")
        server.publish("LONG", _numbered(0, 5_000))
        source = _source(server, "LONG", batch_rows=700, name="long")

        def killing(self, *arguments):
            keep(self, *arguments)
            server.kill()

        with monkeypatch.context() as patched:
            patched.setattr(kept_rows.KeptRows, "append", killing)
            began = time.monotonic()
            with pytest.raises(UnreachableError, match="does not answer"):
                _read(source)
            assert time.monotonic() - began < 60
        assert 0 < read_manifest(_folder(source)).rows < 5_000
        server.start()
        again = _source(server, "LONG", batch_rows=700, name="long")
        assert _read(again)["n"].tolist() == list(range(5_000))


def test_ctrl_c_keeps_what_was_read(server, stream, monkeypatch):
    server.publish(stream, _numbered(0, 3_000))
    source = _source(server, stream, batch_rows=500)
    keep = kept_rows.KeptRows.append

    def interrupted(self, *arguments):
        keep(self, *arguments)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(kept_rows.KeptRows, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _read(source)
    assert 500 <= read_manifest(_folder(source)).rows < 3_000
    assert _read(source)["n"].tolist() == list(range(3_000))


def test_readers_leave_nothing_at_the_server(server, stream):
    server.publish(stream, _numbered(0, 30))
    _read(_source(server, stream))
    table_size(_source(server, stream), VARIABLES)

    async def consumers(js):
        for _ in range(50):
            found = await js.consumers_info(stream)
            if not found:
                return 0
            await asyncio.sleep(0.1)
        return len(found)

    assert server.act(consumers) == 0
    assert (
        json.loads((_folder(_source(server, stream)) / "manifest.json").read_text())["last"] == 30
    )
