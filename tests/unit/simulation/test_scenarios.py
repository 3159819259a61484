"""Each scenario changes what it says it changes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.data.conform import conform
from evergreen.errors import InputError
from evergreen.simulation import SCENARIOS
from evergreen.simulation.scenarios import NEW_CATEGORY, as_labels, as_requests, simulate
from tests.support.boat_windows import boats
from tests.support.models import small_contract

CONTRACT = small_contract()
TABLE = conform(boats(2000, 1), CONTRACT)
ROWS = 3000


def drawn(scenario, rows=ROWS, seed=7):
    return simulate(TABLE, CONTRACT, scenario, rows, seed)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_gives_the_same_rows(scenario):
    first = drawn(scenario, 50)
    assert first.equals(drawn(scenario, 50))
    assert not first.equals(drawn(scenario, 50, seed=8))
    assert len(first) == 50


def concept_holds(table) -> bool:
    """The wind follows from the crew (see `boats`)."""
    classes = np.array(["calm", "gale", "storm"], dtype=object)
    return bool((classes[table["crew"].astype(int) % 3] == table["wind"]).all())


def shift(table) -> float:
    """Standardized difference of the mast's mean."""
    mast = TABLE["mast / height"]
    return float((table["mast / height"].mean() - mast.mean()) / mast.std())


def test_none_changes_nothing():
    assert abs(shift(drawn("none"))) < 0.1
    assert concept_holds(drawn("none"))


def test_a_small_table_makes_a_stream_without_copies():
    small, mast = TABLE.head(150), "mast / height"
    table = simulate(small, CONTRACT, "none", 1000, 3)
    assert table.drop(columns="wind").duplicated().mean() < 0.1
    assert concept_holds(table)
    assert set(table["crew"]) <= set(small["crew"])  # whole numbers stay
    assert small[mast].min() <= table[mast].min() <= table[mast].max() <= small[mast].max()
    assert table[mast].std() == pytest.approx(small[mast].std(), rel=0.1)
    coarse = small.assign(**{mast: small[mast].round(1)})
    decimals = simulate(coarse, CONTRACT, "none", 300, 3)[mast]
    assert decimals.equals(decimals.round(1))
    assert not set(decimals) <= set(coarse[mast])


def test_a_large_table_is_drawn_as_it_is():
    table = drawn("none", 50)
    assert set(table["mast / height"]) <= set(TABLE["mast / height"])


def test_a_covariate_shift_moves_a_column_and_keeps_the_concept():
    assert shift(drawn("covariate_shift")) > 1
    assert concept_holds(drawn("covariate_shift"))


def test_a_gradual_shift_grows():
    table = drawn("gradual_shift")
    parts = [shift(table.iloc[i : i + 750]) for i in range(0, ROWS, 750)]
    assert parts == sorted(parts)
    assert parts[-1] - parts[0] > 0.7


def test_a_new_category_appears_in_a_third():
    share = (drawn("new_category")["harbour"] == NEW_CATEGORY).mean()
    assert 0.25 < share < 0.35


def test_values_go_missing():
    before, after = TABLE.isna().mean(), drawn("missingness").isna().mean()
    assert (after - before).max() > 0.1


def test_a_sensor_sticks():
    table = drawn("stuck_sensor")
    assert table["mast / height"].nunique() == 1
    assert concept_holds(table)


def test_labels_shift_and_the_concept_holds():
    rarest = TABLE["wind"].value_counts().index[-1]
    table = drawn("label_shift")
    assert (table["wind"] == rarest).mean() > 1.5 * (TABLE["wind"] == rarest).mean()
    assert concept_holds(table)


def test_the_concept_changes_and_the_columns_do_not():
    table = drawn("concept_change")
    assert not concept_holds(table)
    same = drawn("none")
    assert table.drop(columns="wind").equals(same.drop(columns="wind"))


def test_requests_hold_what_the_api_takes():
    table = drawn("none", 20)
    [first, *_] = as_requests(table, CONTRACT)
    assert set(first) == {column.name for column in CONTRACT.features}
    assert isinstance(first["crew"], int)
    assert isinstance(first["licensed"], bool)
    assert set(as_labels(table, CONTRACT)) <= {"calm", "gale", "storm"}


def test_a_table_without_such_a_column_is_refused():
    plain = CONTRACT.model_copy(
        update={
            "columns": tuple(
                c for c in CONTRACT.columns if c.type != "category" or c.name == "wind"
            )
        }
    )
    with pytest.raises(InputError, match="no column of categories"):
        simulate(TABLE, plain, "new_category", 10, 1)
