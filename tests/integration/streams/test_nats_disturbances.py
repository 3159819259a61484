"""NATS JetStream when readers die, messages go missing, or the stream is not what it was."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading

import pytest
from filelock import FileLock

from evergreen.data.size import table_size
from evergreen.data.source_config import NatsSource
from evergreen.data.sources import kept_rows, nats_client
from evergreen.data.sources.kept_rows import read_manifest
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from tests.support.command_line import ROOT
from tests.support.nats_server import VARIABLES, running_nats
from tests.support.nats_streams import kept_in, numbered, read, source_of


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
    source = source_of(server, stream, batch_rows=40)
    readers = KilledReaders(source, {**os.environ, **VARIABLES})
    yield source, readers
    readers.close()


def test_a_reader_killed_at_the_worst_moments_neither_loses_nor_doubles(server, stream, killed):
    source, readers = killed
    total = deaths = 0
    for published in (25, 90):  # a part that the next reading replaces, and several
        for how in ("replace", "replaced", "unlink"):
            for number in (1, 2, 3, 4):
                server.publish(stream, numbered(total, total + published))
                total += published
                deaths += readers.run(how, number)
                manifest = read_manifest(kept_in(source))
                if manifest is not None and number % 2:
                    assert manifest.rows == manifest.last
                    assert manifest.rows <= total
    assert deaths >= 15
    assert read(source)["n"].tolist() == list(range(total))
    named = {"manifest.json", *(part.file for part in read_manifest(kept_in(source)).parts)}
    assert {path.name for path in kept_in(source).iterdir()} == named


def test_a_reader_killed_at_any_moment_neither_loses_nor_doubles(server, stream, killed):
    source, readers = killed
    chance = random.Random(4)
    total = deaths = 0
    for _ in range(8):
        server.publish(stream, numbered(total, total + 400))
        total += 400
        deaths += readers.run("seconds", chance.uniform(0.01, 0.4))
    assert deaths
    assert read(source)["n"].tolist() == list(range(total))


def test_readers_at_the_same_time_take_turns(server, stream):
    server.publish(stream, numbered(0, 3_000))
    source = source_of(server, stream, batch_rows=100)
    found: list[list[int]] = []
    readers = [
        threading.Thread(target=lambda: found.append(read(source)["n"].tolist())) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [list(range(3_000))] * 3


def test_a_reader_that_takes_too_long_is_named(server, stream, monkeypatch):
    server.publish(stream, numbered(0, 3))
    monkeypatch.setattr(kept_rows, "PATIENCE", 0.1)
    Home.locate().locks.mkdir(parents=True)
    with (
        FileLock(Home.locate().locks / f"stream-{stream}.lock"),
        pytest.raises(UnreachableError, match="Another process"),
    ):
        read(source_of(server, stream))


def test_deliveries_that_go_missing_are_asked_for_again(server, stream, monkeypatch):
    server.publish(stream, numbered(0, 300))
    take, count = nats_client._Pull._take, 0

    async def lossy(self, message):
        nonlocal count
        count += 1
        if count != 120:
            await take(self, message)

    monkeypatch.setattr(nats_client._Pull, "_take", lossy)
    assert read(source_of(server, stream, timeout=2))["n"].tolist() == list(range(300))
    assert count > 300


def test_a_stream_that_was_made_anew_is_not_mixed_with_the_old_one(server, stream):
    source = source_of(server, stream, name="mine")
    server.publish(stream, numbered(0, 30))
    read(source)
    server.act(lambda js: js.delete_stream(stream))
    with pytest.raises(InputError, match=f"no stream '{stream}'"):
        read(source)
    server.make(stream)
    server.publish(stream, numbered(100, 150))
    with pytest.raises(InputError, match="deleted and made anew") as caught:
        read(source)
    assert "30 rows" in str(caught.value)
    assert str(kept_in(source)) in str(caught.value)
    assert read_manifest(kept_in(source)).rows == 30
    assert read(source_of(server, stream, name="new"))["n"].tolist() == list(range(100, 150))


def test_a_stream_that_was_set_back_is_refused(server, stream):
    source = source_of(server, stream)
    server.publish(stream, numbered(0, 30))
    read(source)
    manifest = read_manifest(kept_in(source)).model_copy(update={"end": 31})
    (kept_in(source) / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(InputError, match="set back: it ends with message 30, but when"):
        read(source)


def test_messages_dropped_before_they_were_read_are_counted(server, caplog):
    server.make("SHORT", max_msgs=50)
    source = source_of(server, "SHORT")
    server.publish("SHORT", numbered(0, 80))
    assert read(source)["n"].tolist() == list(range(30, 80))
    server.publish("SHORT", numbered(80, 120))
    assert read(source)["n"].tolist() == list(range(30, 120))
    assert not caplog.records
    server.publish("SHORT", numbered(120, 190))
    assert read(source)["n"].tolist() == [*range(30, 120), *range(140, 190)]
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "20 messages (121 to 140) were dropped" in record.getMessage()
    read(source)
    assert len(caplog.records) == 1


def test_dropped_messages_of_other_subjects_that_were_seen_are_none_of_ours(server, caplog):
    server.make("MIXED", max_msgs=50)
    source = source_of(server, "MIXED", subject="mixed.mine")
    server.publish("MIXED", numbered(0, 5), subject="mine")
    for others in (45, 40):  # the second time, all of ours are dropped
        server.publish("MIXED", numbered(0, others), subject="others")
        assert read(source)["n"].tolist() == list(range(5))
    assert not caplog.records
    server.publish("MIXED", numbered(0, 60), subject="others")
    read(source)
    assert "up to 10 messages" in caplog.text


def test_rows_stay_when_the_stream_is_emptied(server, stream):
    source = source_of(server, stream)
    server.publish(stream, numbered(0, 30))
    read(source)
    server.act(lambda js: js.purge_stream(stream))
    assert len(read(source)) == 30
    assert table_size(source, VARIABLES).rows == 30


def test_a_damaged_folder_is_named(server, stream):
    source = source_of(server, stream)
    server.publish(stream, numbered(0, 30))
    read(source)
    (part,) = kept_in(source).glob("*.parquet")
    part.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="Delete the folder"):
        read(source)
    (kept_in(source) / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="Delete the folder"):
        read(source)


def test_a_server_that_goes_away_is_gone_on_with(tmp_path, monkeypatch):
    keep = kept_rows.KeptRows.append
    with running_nats(tmp_path) as server:
        server.make("LONG")
        server.publish("LONG", numbered(0, 5_000))
        source = source_of(server, "LONG", batch_rows=700, name="long")

        def killing(self, *arguments):
            keep(self, *arguments)
            server.kill()

        with monkeypatch.context() as patched:
            patched.setattr(kept_rows.KeptRows, "append", killing)
            with pytest.raises(UnreachableError, match="does not answer"):
                read(source)
        assert 0 < read_manifest(kept_in(source)).rows < 5_000
        server.start()
        again = source_of(server, "LONG", batch_rows=700, name="long")
        assert read(again)["n"].tolist() == list(range(5_000))


def test_ctrl_c_keeps_what_was_read(server, stream, monkeypatch):
    server.publish(stream, numbered(0, 3_000))
    source = source_of(server, stream, batch_rows=500)
    keep = kept_rows.KeptRows.append

    def interrupted(self, *arguments):
        keep(self, *arguments)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(kept_rows.KeptRows, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read(source)
    assert 500 <= read_manifest(kept_in(source)).rows < 3_000
    assert read(source)["n"].tolist() == list(range(3_000))
