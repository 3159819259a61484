"""Windows of the prediction log, as columns."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from evergreen.errors import UnreachableError
from evergreen.serving.log_tables import SMOKE_TEST
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionBatch, PredictionRecord
from evergreen.serving.redaction import Redaction
from tests.support.models import small_contract

START = 1_777_593_600.0  # 2026-05-01 00:00 UTC
INPUTS = {
    "mast / height": 11.1,
    "crew": 3.0,
    "licensed": 1.0,
    "harbour": "Åbo",
    "built": np.datetime64("1999-03-01T12:30:00.000001"),
}


def record(number, **changed):
    fields = {
        "request_id": f"r{number:03}",
        "version": "1" if number < 5 else "2",
        "inputs": {**INPUTS, "crew": float(number)},
        "prediction": "calm",
        "probabilities": [0.5, 0.25, 0.25],
        "time": START + number,
        "latency_ms": 1.5,
    }
    return PredictionRecord(**{**fields, **changed})


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def write(url, tmp_path):
    def write(*records, feedback=(), model="boats", **settings):
        log = PredictionLog(url, model, spool=tmp_path / "spool", **settings)
        log.record(records)
        for request_id, label in feedback:
            log.feedback(request_id, label)
        log.close()

    return write


@pytest.fixture
def history(url):
    history = PredictionHistory(url, small_contract())
    yield history
    history.close()


def test_columns_have_the_contracts_types(write, history):
    empty = dict.fromkeys(INPUTS)
    write(record(0), record(1, inputs=empty, probabilities=None, latency_ms=None, version=None))
    window = history.window()
    assert len(window) == 2
    assert window.times.dtype == "datetime64[us]"
    assert window.times[1] == np.datetime64("2026-05-01T00:00:01")
    assert window.request_ids.tolist() == ["r000", "r001"]
    assert window.versions.tolist() == ["1", None]
    height, built = window.inputs["mast / height"], window.inputs["built"]
    assert height.dtype == np.float64
    np.testing.assert_array_equal(height, [11.1, np.nan])
    np.testing.assert_array_equal(
        built, np.array(["1999-03-01T12:30:00.000001", "NaT"], dtype="datetime64[us]")
    )
    assert window.inputs["harbour"].tolist() == ["Åbo", None]
    assert window.predictions.tolist() == ["calm", "calm"]
    np.testing.assert_array_equal(window.probabilities, [[0.5, 0.25, 0.25], [np.nan] * 3])
    np.testing.assert_array_equal(window.latencies, [1.5, np.nan])
    assert window.redacted == ()


def test_numbers_come_back_to_the_last_bit(write, history):
    values = [0.1, 1 / 3, 1e-308, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789]
    write(*(record(n, inputs={**INPUTS, "crew": value}) for n, value in enumerate(values)))
    assert history.window().inputs["crew"].tobytes() == np.array(values).tobytes()


def test_windows_by_time_and_by_number(write, history):
    write(*(record(number) for number in range(10)))
    moment = datetime(2026, 5, 1, 0, 0, 3, tzinfo=UTC)
    assert len(history.window(since=moment)) == 7
    assert len(history.window(since=moment.replace(tzinfo=None))) == 7
    assert len(history.window(until=moment)) == 3
    assert history.window(last=4).request_ids.tolist() == ["r006", "r007", "r008", "r009"]
    assert history.window(until=moment, last=2).request_ids.tolist() == ["r001", "r002"]
    assert len(history.window(version="2")) == 5
    assert len(history.window(arm="challenger")) == 0
    assert (history.count(), history.count(since=moment)) == (10, 7)


def test_feedback_is_joined(write, history):
    write(record(0), record(1), record(2), feedback=[("r001", "storm"), ("elsewhere", "calm")])
    assert history.window().actual.tolist() == [None, "storm", None]
    assert history.window(labelled=True).request_ids.tolist() == ["r001"]


def test_regressions_are_numbers(write, url):
    write(
        record(0, prediction=2.5, probabilities=None),
        record(1, prediction=3.0),
        model="boats",
        feedback=[("r000", 2)],
    )
    history = PredictionHistory(url, small_contract("regression"))
    window = history.window()
    history.close()
    assert window.predictions.dtype == window.actual.dtype == np.float64
    np.testing.assert_array_equal(window.actual, [2.0, np.nan])
    assert window.probabilities is None


def test_labels_keep_their_types(write, history):
    write(record(0, prediction=True), record(1, prediction=1), record(2, prediction="1"))
    found = history.window().predictions.tolist()
    assert [(type(label), label) for label in found] == [(bool, True), (int, 1), (str, "1")]


def test_other_models_rows_are_not_read(write, history):
    write(record(0), model="ships")
    assert len(history.window()) == 0


def test_what_a_deployment_tried_is_left_out(write, history):
    trial, alike = f"{SMOKE_TEST}.12ab-1", f"{SMOKE_TEST}-of-mine.12ab-2"
    write(record(0), record(1, request_id=trial), record(2, request_id=alike))
    assert history.window().request_ids.tolist() == ["r000", alike]
    assert history.count() == 2


def test_redacted_columns_are_missing_and_named(write, history):
    redaction = Redaction({"harbour": "drop", "crew": "hash"}, b"0123456789abcdef")
    write(record(0), redaction=redaction)
    window = history.window()
    assert window.redacted == ("crew", "harbour")
    assert window.inputs["harbour"].tolist() == [None]
    assert np.isnan(window.inputs["crew"]).all()


def test_batches_come_back_in_order(url, tmp_path, history):
    log = PredictionLog(url, "boats", spool=tmp_path / "spool")
    count = 12_000
    log.record_batch(
        PredictionBatch(
            request_id="many",
            version="1",
            inputs={name: [value] * count for name, value in INPUTS.items()}
            | {"crew": list(map(float, range(count)))},
            predictions=["gale"] * count,
            probabilities=[[0.0, 1.0, 0.0]] * count,
        )
    )
    log.close()
    window = history.window()
    np.testing.assert_array_equal(window.inputs["crew"], np.arange(count))
    np.testing.assert_array_equal(window.rows, np.arange(count))


def test_nothing_was_logged_yet(history):
    window = history.window()
    assert len(window) == 0
    assert window.probabilities.shape == (0, 3)
    assert history.count() == 0


def test_a_database_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "log.db").write_text("this is no database, however long one looks at it")
    history = PredictionHistory(f"sqlite:///{tmp_path / 'log.db'}", small_contract())
    with pytest.raises(UnreachableError, match=r"log\.db cannot be read: file is not a database"):
        history.window()


def test_parts_hold_what_the_window_holds(write, history):
    write(*(record(number) for number in range(8)), feedback=[("r002", "gale"), ("r006", "calm")])
    parts = list(history.parts(last=7, part_rows=3))
    assert [len(part) for part in parts] == [3, 3, 1]  # the newest first
    found = [one for part in reversed(parts) for one in part.request_ids]
    assert found == history.window(last=7).request_ids.tolist()
    assert sum(len(part) for part in history.parts(version="1")) == 5
    labelled = list(history.parts(labelled=True))
    assert labelled[0].actual.tolist() == ["gale", "calm"]
    assert not list(history.parts(labelled_since=datetime.now(UTC)))
    assert history.count(version="1", labelled=True) == 1
