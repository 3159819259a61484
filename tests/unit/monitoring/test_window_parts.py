"""A window that is counted in parts is judged as in one piece."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from evergreen.errors import InputError
from evergreen.monitoring import window_source
from evergreen.monitoring.monitor import observe
from evergreen.monitoring.parts import CountedPart, WindowPlan, count_part, judge_parts, plan_window
from evergreen.paths import Home
from evergreen.serving.runtime import load_runtime
from tests.support.boat_windows import BoatLog, boats, boats_bundle, boats_case

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return boats_bundle(tmp_path_factory.mktemp("bundle") / "boats").folder


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def log(home, tmp_path, bundle):
    url = f"sqlite:///{home.root / 'predictions.db'}"
    return BoatLog(url, tmp_path / "spool", load_runtime(bundle, "1"))


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write boats, a few of them odd, as a file that is read in pieces of 100 rows."""
    monkeypatch.setattr(window_source, "PIECE_ROWS", 100)

    def table(ending="parquet", rows=950):
        frame = boats(rows, 11, mast=0.6)
        frame.loc[[3, 700], "mast / height"] = [np.inf, 150.0]
        frame.loc[500:520, "crew"] = None
        path = tmp_path / f"window.{ending}"
        frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
        return str(path)

    return table


def in_parts(tmp_path, use_case, bundle, home, meanwhile=lambda: None, **when):
    plan = plan_window(use_case, bundle, "1", home, **when)
    plan = WindowPlan.model_validate_json(plan.model_dump_json())  # as steps hand it on
    read = []
    for number in range(use_case.monitoring.partitions):
        folder = tmp_path / f"part-{number}"
        folder.mkdir()
        counted = count_part(use_case, bundle, "1", home, plan, number)
        read.append(CountedPart.write(counted, folder).read())
        meanwhile()
    return [part.profile.rows for part in read], judge_parts(
        use_case, bundle, "1", home, plan, read
    )


def facts(checked):
    """Return all that a verdict says; numbers within what sums in single precision allow."""
    told = json.loads(checked.observed.model_dump_json(exclude={"seconds"}))
    flat = dict(leaves(told))
    numbers = {key: value for key, value in flat.items() if isinstance(value, float)}
    return numbers, {key: value for key, value in flat.items() if key not in numbers}


def leaves(value, path=""):
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, value


def require_same(parts, whole):
    numbers, others = facts(parts)
    wanted, same = facts(whole)
    assert others == same
    assert numbers == pytest.approx(wanted, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("partitions", [2, 3, 12])
def test_a_table(table, bundle, home, tmp_path, partitions):
    policy = {"source": table(), "segments": ("harbour",)}
    whole = observe(boats_case(**policy), bundle, "1", home)
    use_case = boats_case(partitions=partitions, **policy)
    rows, parts = in_parts(tmp_path, use_case, bundle, home)
    assert sum(rows) == 950
    assert len(rows) == partitions
    assert max(rows) < 950
    require_same(parts, whole)
    assert whole.observed.quality
    assert whole.observed.segments
    assert parts.sample.num_rows == whole.sample.num_rows == 950


@pytest.mark.parametrize("limit", [None, 640])
def test_logged_predictions(log, bundle, home, tmp_path, limit):
    log.add(boats(400, 21), NOW - 2 * HOUR, name="a", labelled=400)
    log.add(boats(500, 22, mast=2), NOW - HOUR, name="b", labelled=50)
    policy = {"window": {"span": "6h", "rows": limit}}
    whole = observe(boats_case(**policy), bundle, "1", home, now=NOW)
    use_case = boats_case(partitions=3, **policy)
    rows, parts = in_parts(tmp_path, use_case, bundle, home, now=NOW)
    assert sum(rows) == (limit or 900)
    assert min(rows) > 200
    require_same(parts, whole)
    assert parts.observed.verdict.labelled == 450


def test_fewer_rows_than_parts_and_none_at_all(log, bundle, home, tmp_path):
    use_case = boats_case(partitions=5)
    log.add(boats(3, 23), NOW - HOUR, name="a")
    whole = observe(boats_case(), bundle, "1", home, now=NOW)
    rows, parts = in_parts(tmp_path, use_case, bundle, home, now=NOW)
    assert sum(rows) == 3
    require_same(parts, whole)


def test_rows_that_come_meanwhile_are_the_next_window_s(log, bundle, home, tmp_path):
    log.add(boats(300, 24), NOW - HOUR, name="a")
    names = iter("bcd")
    rows, _ = in_parts(
        tmp_path,
        boats_case(partitions=3),
        bundle,
        home,
        lambda: log.add(boats(10, 25), NOW + HOUR, name=next(names)),
        now=NOW,
    )
    assert sum(rows) == 300


def test_a_table_that_changes_meanwhile_is_refused(table, bundle, home, tmp_path):
    use_case = boats_case(source=table(), partitions=2)
    with pytest.raises(InputError, match="was changed while it was read"):
        in_parts(tmp_path, use_case, bundle, home, lambda: table(rows=900))


def test_text_is_not_divided(table, bundle, home, tmp_path):
    use_case = boats_case(source=table("csv"), partitions=2)
    with pytest.raises(InputError, match=r"monitoring\.partitions: .* Leave partitions out"):
        in_parts(tmp_path, use_case, bundle, home)
