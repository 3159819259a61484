"""The contract as a Pandera schema: each promise, kept and broken."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from evergreen.data.infer import infer_contract
from evergreen.data.validation import contract_schema, validate
from evergreen.errors import InputError
from tests.support.command_line import ROOT
from tests.support.use_cases import use_case

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, 3.0, 4.0],
        "kind": ["a", "b", "a", None],
        "when": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
        "y": ["no", "yes", "no", "yes"],
    }
)
RULES = {
    "size": {"minimum": 1, "maximum": 4, "nullable": False},
    "kind": {"categories": ["a", "b"]},
}
CONTRACT = infer_contract(FRAME, use_case(contract=RULES))


def broken(**columns):
    frame = FRAME.assign(**columns)
    return {(b.promise, b.column.name): b.rows.tolist() for b in validate(frame, CONTRACT)}


def test_a_table_keeps_its_own_contract():
    assert broken() == {}


def test_the_schema_lists_what_is_promised():
    schema = contract_schema(CONTRACT)
    checks = {
        name: [check.name for check in column.checks] for name, column in schema.columns.items()
    }
    assert checks == {
        "size": ["types", "ranges", "nulls"],
        "kind": ["types", "categories"],
        "when": ["types"],
        "y": ["types"],
    }


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"size": ["1", "x", "3", "y"]}, {("types", "size"): [1, 3]}),
        ({"size": [0.0, 2.0, 3.0, 5.0]}, {("ranges", "size"): [0, 3]}),
        ({"size": [1.0, None, 3.0, 4.0]}, {("nulls", "size"): [1]}),
        ({"size": ["1", " ", "3", "4"]}, {("nulls", "size"): [1]}),
        ({"size": [1.0, float("inf"), 3.0, 4.0]}, {}),
        ({"kind": ["a", "c", None, "b"]}, {("categories", "kind"): [1]}),
        ({"kind": ["a", [1], {}, "b"]}, {("categories", "kind"): [1, 2]}),
        ({"when": ["2024-01-01", "soon", None, "later"]}, {("types", "when"): [1, 3]}),
        ({"y": ["no", "yes", "perhaps", None]}, {("types", "y"): [2]}),
        (
            {"size": ["x", "0", "1", "9"], "kind": "z"},
            {
                ("types", "size"): [0],
                ("ranges", "size"): [1, 3],
                ("categories", "kind"): [0, 1, 2, 3],
            },
        ),
    ],
)
def test_each_promise_is_found_broken_at_its_rows(columns, expected):
    assert broken(**columns) == expected


def test_positions_count_from_zero_whatever_the_index():
    frame = FRAME.assign(size=[1.0, 9.0, 3.0, 4.0]).set_index(pd.Index([7, 7, 7, 7]))
    assert validate(frame, CONTRACT)[0].rows.tolist() == [1]


def test_an_absent_feature_is_refused():
    with pytest.raises(InputError, match=r"'kind'.*Did you mean 'kinds'"):
        validate(FRAME.rename(columns={"kind": "kinds"}), CONTRACT)


AT_ONCE = """
import sys, threading, time
from evergreen.data.validation import validate
from tests.support.models import small_contract, small_table

assert "pandera" not in sys.modules
contract, table, failures = small_contract(), small_table(), []

def work(number):
    time.sleep(0.1 * number)  # comes upon a package that is half loaded
    try:
        validate(table, contract)
    except BaseException as error:
        failures.append(repr(error))

threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(failures) or None)
"""


def test_threads_may_load_pandera_at_once():
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
