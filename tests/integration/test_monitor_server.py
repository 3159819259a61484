"""Monitoring what real servers logged, in SQLite and PostgreSQL; and the report on it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import httpx
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from evergreen.monitoring.evidently_report import KEPT_PAGES, PAGE, forget_old_pages
from evergreen.monitoring.history import MonitoringHistory
from evergreen.monitoring.monitor import conclude, draw, observe, window_folder
from evergreen.paths import Home
from evergreen.promotion.store import prepare_store
from evergreen.reporting.window_summary import window_summary
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.runtime import load_runtime
from tests.support.boat_windows import BoatLog, boats, boats_bundle, boats_case
from tests.support.html_checks import check_page
from tests.support.serving import serving
from tests.support.stores import Store

ROWS = 300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return boats_bundle(tmp_path_factory.mktemp("bundle") / "boats")


@pytest.fixture(scope="module")
def served(bundle, tmp_path_factory):
    """A server of version 1 in a registry, as users start it."""
    home = Home(tmp_path_factory.mktemp("served"))
    experiment = prepare_store(home, "boats")
    log = home.database_url.removeprefix("sqlite:///")
    store = Store(home.mlflow_uri, experiment, log, home.locks)
    assert store.add(bundle) == "1"
    store.registry.log.close()
    with serving(home.root, "--model", "boats", "--registry", home.mlflow_uri) as server:
        yield home, server


def send(server, frame, labelled):
    """Send boats in one batch, and their wind for the first ones."""
    inputs = frame.drop(columns=["seen", "wind"])
    rows = json.loads(inputs.to_json(orient="records", date_format="iso"))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answer = client.post("/predict/batch", json=rows)
        assert answer.is_success, answer.text
        name = answer.headers["x-request-id"]
        feedback = [
            {"request_id": name, "row": row, "label": wind}
            for row, wind in enumerate(frame["wind"].head(labelled))
        ]
        assert client.post("/feedback", json=feedback).is_success


def logged(home, bundle, rows, labelled):
    """Wait until the log holds so many rows and labels."""
    history = PredictionHistory(f"sqlite:///{home.root / 'predictions.db'}", bundle.contract)
    end = time.monotonic() + 60
    while (history.count(), history.count(labelled=True)) != (rows, labelled):
        assert time.monotonic() < end
        time.sleep(0.05)
    history.close()


def test_traffic_of_a_server_is_judged(served, bundle):
    home, server = served
    use_case = boats_case()

    def turn():
        return conclude(observe(use_case, bundle.folder, "1", home).observed, use_case, home)

    send(server, boats(ROWS, 41), labelled=ROWS)
    logged(home, bundle, ROWS, ROWS)
    quiet = turn()
    assert (quiet.action, quiet.rows, quiet.verdict.labelled) == ("none", ROWS, ROWS)
    send(server, boats(ROWS, 42, mast=2, wrong=0.4), labelled=200)
    logged(home, bundle, 2 * ROWS, ROWS + 200)
    first = turn()
    assert first.verdict.drifted == ("mast / height",)
    assert {"columns", "performance"} <= set(first.verdict.families)
    assert first.action == "watch"
    send(server, boats(ROWS, 43, mast=2, wrong=0.4), labelled=ROWS)
    logged(home, bundle, 3 * ROWS, 2 * ROWS + 200)
    second = turn()
    assert second.verdict.alarm
    assert second.rows == ROWS
    # Confirmed, but too few rows are labelled since the change to train on.
    assert second.action == "watch"
    assert "too few to train on" in second.decision.reasons[-1]
    with_fewer = boats_case(retrain={"min_rows": 100})
    send(server, boats(ROWS, 44, mast=2, wrong=0.4), labelled=ROWS)
    logged(home, bundle, 4 * ROWS, 3 * ROWS + 200)
    third = conclude(observe(with_fewer, bundle.folder, "1", home).observed, with_fewer, home)
    assert third.action == "retrain", third.decision.reasons


@pytest.fixture
def database(postgres, request):
    """A database of this test's own."""
    name = f"monitor_{abs(hash(request.node.name))}"
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def test_a_log_in_postgresql_is_judged_alike(database, bundle, tmp_path):
    use_case = boats_case().model_copy(
        update={"serving": boats_case().serving.model_validate({"log": {"url": database}})}
    )
    home, runtime = Home(tmp_path / "home"), load_runtime(bundle.folder, "1")
    log = BoatLog(database, tmp_path / "spool", runtime)
    local = BoatLog(f"sqlite:///{home.root / 'predictions.db'}", tmp_path / "other", runtime)
    at = datetime(2026, 5, 1, 10, tzinfo=UTC)
    for target in (log, local):
        target.add(boats(ROWS, 45, mast=2), at, name="a", labelled=120)
    now = at.replace(hour=20)
    found = observe(use_case, bundle.folder, "1", home, now=now).observed
    alike = observe(boats_case(), bundle.folder, "1", home, now=now).observed
    assert found.verdict == alike.verdict
    assert found.verdict.drifted == ("mast / height",)
    assert found.verdict.labelled == 120
    assert (found.first, found.last) == (alike.first, alike.last)
    assert "***" in found.place
    assert sa.make_url(database).password not in found.model_dump_json()


def test_the_history_keeps_its_promises_in_postgresql(database, bundle, home_with_log):
    home, use_case = home_with_log
    observed = observe(use_case, bundle.folder, "1", home).observed
    history = MonitoringHistory(database)
    from evergreen.monitoring.decision import Decision, WindowLoss

    recorded = history.record(observed, Decision(action="watch", reasons=("a", "b")))
    assert history.windows("boats") == (recorded,)
    history.record_turn(recorded.id, "started")
    history.record_loss(recorded.id, WindowLoss(rows=9, total=1.0, squares=1.0))
    (window,) = history.windows("boats", limit=5)
    assert (window.turn, window.labelled) == ("started", 9)
    assert len(history.policy_history(observed)) == 1
    engine = sa.create_engine(database)
    for statement in ("UPDATE {} SET host = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
        for table in ("monitoring_windows", "monitoring_updates"):
            with (
                pytest.raises(sa.exc.DBAPIError, match="append-only"),
                engine.begin() as connection,
            ):
                connection.execute(sa.text(statement.format(table)))
    history.close()
    engine.dispose()


@pytest.fixture
def home_with_log(bundle, tmp_path):
    path = tmp_path / "window.parquet"
    boats(6000, 46, mast=2).assign(harbour=None).to_parquet(path)
    assert pq.read_metadata(path).num_rows == 6000
    return Home(tmp_path / "home"), boats_case(source=str(path))


def test_evidently_draws_a_bounded_sample(bundle, home_with_log):
    home, use_case = home_with_log
    checked = observe(use_case, bundle.folder, "1", home)
    assert checked.observed.rows == 6000
    assert checked.sample.num_rows == 5000
    figures = draw(checked, window_folder(home, "boats", datetime.now(UTC)))
    assert [one.column for one in figures.columns if one.drifted] == ["mast / height"]
    assert {one.method for one in figures.columns} == {"wasserstein"}
    assert figures.left_out == ("harbour",)
    page = home.reports / "boats" / "monitoring"
    (written,) = page.glob(f"*/{PAGE}")
    assert str(written) == figures.page
    assert "<script" in written.read_text()  # for a browser, not for ZenML's dashboard
    window = conclude(checked.observed, use_case, home)
    summary = window_summary(window, figures)
    check_page(summary)
    assert "<script" not in summary
    for words in ("mast / height", str(written), "harbour", "Alert"):
        assert words in summary


def test_only_the_newest_pages_are_kept(tmp_path):
    for number in range(KEPT_PAGES + 5):
        folder = tmp_path / f"2026{number:03}"
        folder.mkdir()
        (folder / PAGE).touch()
        (folder / "window.html").touch()
    forget_old_pages(tmp_path)
    left = sorted(page.parent.name for page in tmp_path.glob(f"*/{PAGE}"))
    assert left == [f"2026{number:03}" for number in range(5, KEPT_PAGES + 5)]
    assert len(list(tmp_path.glob("*/window.html"))) == KEPT_PAGES + 5
