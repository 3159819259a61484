"""Contracts inferred from tables: types, roles, labels, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from evergreen.data.conform import conform
from evergreen.data.infer import infer_contract
from evergreen.errors import InputError
from tests.support.use_cases import use_case

N = 200
DAYS = pd.date_range("2024-01-01", periods=N)


def typed(values, **rule):
    """The contract's column for one raw column beside a target."""
    frame = pd.DataFrame({"x": values, "other": range(len(values))})
    frame["y"] = [0.5 * i for i in range(len(frame))]
    case = use_case("regression", contract={"x": rule} if rule else {})
    return infer_contract(frame, case).column("x")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, N), "number"),
        ([float(i) for i in range(N)], "number"),
        ([np.nan, *range(N - 1)], "integer"),
        (range(N), "integer"),
        ([0, 1] * 100, "integer"),
        ([True, False] * 100, "boolean"),
        (["yes", "No"] * 100, "boolean"),
        (pd.Series([True, None] * 100, dtype=object), "boolean"),
        (["yes", "no", "maybe", "no"] * 50, "category"),
        ([str(i / 2) for i in range(N)], "number"),
        ([str(i) for i in range(N)], "integer"),
        ([f"{i}.0" for i in range(N)], "number"),
        (["00501", "10001"] * 100, "category"),
        (DAYS, "timestamp"),
        (DAYS.strftime("%Y-%m-%d"), "timestamp"),
        (DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"), "timestamp"),
        (["a", None, "b", "c"] * 50, "category"),
        ([f"u{i}" for i in range(N)], "identifier"),
        ([f"u{i}" for i in range(20)], "category"),
        ([f"{'so ' * 50}{i // 2}" for i in range(N)], "identifier"),
    ],
)
def test_types_are_told_from_values(values, expected):
    assert typed(values).type == expected


@pytest.mark.parametrize("pattern", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%b %d, %Y"])
def test_common_date_formats_are_found(pattern):
    column = typed(DAYS.strftime(pattern))
    assert (column.type, column.format) == ("timestamp", pattern)


@pytest.mark.filterwarnings("error")
def test_mostly_numbers_are_numbers_and_half_numbers_are_not():
    few = ["n/k"] * 3 + [str(i / 2) for i in range(N - 3)]
    many = ["n/k"] * 50 + [str(i / 2) for i in range(N - 50)]
    assert typed(few).type == "number"
    assert typed(many).type == "category"


def test_what_the_table_holds_is_recorded_but_does_not_bind():
    number = typed([1.0, 2.0, 4.5, np.inf, np.nan])
    assert (number.minimum, number.maximum, number.example) == (1.0, 4.5, 2.0)
    assert number.nullable
    assert number.declared == ()
    category = typed(["b", "a", "b", "c"])
    assert (category.categories, category.example) == (("a", "b", "c"), "b")
    assert not category.nullable
    assert typed(["yes", "no", "yes"]).example is True
    assert typed(["2024-01-31", "2024-02-01", "2024-02-02"]).example == "2024-02-01T00:00:00"


def test_of_many_values_the_example_is_the_median_of_some():
    values = np.random.default_rng(0).normal(size=100_000)
    values[::7] = np.nan
    example = typed(values).example
    assert example in values
    assert abs((values[~np.isnan(values)] < example).mean() - 0.5) < 0.02


def test_what_the_use_case_says_goes_first():
    column = typed(range(N), type="category", unit="piece", description="kind")
    assert (column.type, column.unit, column.description) == ("category", "piece", "kind")
    assert column.declared == ("description", "type", "unit")
    ranged = typed(range(N), minimum=0)
    assert (ranged.minimum, ranged.maximum, ranged.declared) == (0.0, 199.0, ("minimum",))
    listed = typed([1, 2] * 100, categories=(1, 2, 3))
    assert (listed.type, listed.categories) == ("category", ("1", "2", "3"))
    assert typed([f"u{i}" for i in range(N)], type="category").role == "feature"


def test_roles_follow_the_use_case():
    frame = pd.DataFrame(
        {
            "when": DAYS.astype(str),
            "who": range(N),
            "note": "x",
            "id": [f"u{i}" for i in range(N)],
            "nothing": None,
            "size": range(N),
            "y": ["a", "b"] * 100,
        }
    )
    data = {"timestamp": "when", "group": "who", "ignore": ["note"]}
    contract = infer_contract(frame, use_case(data=data))
    roles = {column.name: column.role for column in contract.columns}
    assert roles == {
        "when": "timestamp",
        "who": "group",
        "note": "ignored",
        "id": "ignored",
        "nothing": "ignored",
        "size": "feature",
        "y": "target",
    }
    assert [column.name for column in contract.features] == ["size"]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (["b", "a"], ("a", "b")),
        ([1, 0], (0, 1)),
        ([2.0, 1.0, None], (1, 2)),
        ([True, False], (False, True)),
        (pd.Series([True, False, None], dtype=object), (False, True)),
        (["10", "9"], ("10", "9")),
        (pd.Series(["a", "b"], dtype="category"), ("a", "b")),
        (pd.Series(["a", 1], dtype=object), ("1", "a")),
    ],
)
def test_labels_keep_their_type(target, labels):
    frame = pd.DataFrame({"x": range(len(target)), "y": target})
    found = infer_contract(frame, use_case()).labels
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_the_positive_class_is_the_last_one_unless_named():
    frame = pd.DataFrame({"x": range(4), "y": [0, 1, 0, 1]})
    assert infer_contract(frame, use_case()).positive == 1
    assert infer_contract(frame, use_case(data={"positive": 0})).positive == 0
    assert infer_contract(frame, use_case(data={"positive": "0"})).positive == 0
    three = pd.DataFrame({"x": range(3), "y": ["a", "b", "c"]})
    assert infer_contract(three, use_case()).positive is None


@pytest.mark.parametrize("load", [load_wine, load_iris, load_breast_cancer, load_diabetes])
def test_well_known_tables_get_a_plain_contract(load):
    frame = load(as_frame=True).frame
    task = "regression" if load is load_diabetes else "classification"
    contract = infer_contract(frame, use_case(task, "target"))
    assert len(contract.features) == frame.shape[1] - 1
    assert {column.type for column in contract.features} <= {"number", "integer"}
    assert type(contract).model_validate_json(contract.model_dump_json()) == contract


PLAIN = pd.DataFrame({"size": range(100), "kind": ["a", "b"] * 50, "y": ["u", "v"] * 50})


@pytest.mark.parametrize(
    ("frame", "case", "words"),
    [
        (PLAIN, use_case(target="Y"), ("data.target", "'Y'", "Did you mean 'y'")),
        (PLAIN, use_case(data={"timestamp": "when"}), ("data.timestamp", "'when'", "'size'")),
        (PLAIN, use_case(data={"group": "kin"}), ("data.group", "Did you mean 'kind'")),
        (PLAIN, use_case(data={"ignore": ["sizes"]}), ("data.ignore", "Did you mean 'size'")),
        (PLAIN, use_case(contract={"sise": {}}), ("contract", "Did you mean 'size'")),
        (PLAIN, use_case(features={"drop": ["sise"]}), ("features.drop", "Did you mean 'size'")),
        (PLAIN, use_case(evaluation={"slices": ["kid"]}), ("slices", "Did you mean 'kind'")),
        (PLAIN, use_case(data={"ignore": ["size", "kind"]}), ("No feature column is left",)),
        (PLAIN, use_case(features={"drop": ["size", "kind"]}), ("features.drop names all",)),
        (PLAIN.iloc[:0], use_case(), ("no rows", "data.source")),
        (PLAIN.assign(y=None), use_case(), ("'y'", "no value in any of 100 rows")),
        (PLAIN, use_case("regression"), ("'u', 'v'", "Is this a classification?")),
        (PLAIN.assign(y=[True, False] * 50), use_case("regression"), ("classification",)),
        (PLAIN.assign(y=np.linspace(0, 1, 100)), use_case(), ("Is this a regression?",)),
        (PLAIN.assign(y=range(100)), use_case(), ("100 distinct values", "a regression?")),
        (PLAIN, use_case(data={"positive": "w"}), ("data.positive is 'w'", "'u', 'v'")),
        (
            PLAIN.assign(y=["u", "v", "w", "u"] * 25),
            use_case(data={"positive": "w"}),
            ("data.positive is for two classes",),
        ),
        (
            pd.DataFrame([[1, 2, "u"]], columns=["a", "a", "y"]),
            use_case(),
            ("unique", "'a'"),
        ),
        (pd.DataFrame({0: [1], "y": ["u"]}), use_case(), ("must be text",)),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(frame, case, words):
    with pytest.raises(InputError) as refusal:
        infer_contract(frame, case)
    for word in words:
        assert word in str(refusal.value)


def test_numbers_can_be_stated_to_be_classes():
    frame = pd.DataFrame({"x": range(40), "y": [0.5, 1.5] * 20})
    case = use_case(contract={"y": {"type": "category"}})
    contract = infer_contract(frame, case)
    assert contract.labels == ("0.5", "1.5")
    assert conform(frame, contract)["y"].tolist()[:2] == ["0.5", "1.5"]


@pytest.mark.parametrize(
    ("task", "stated"),
    [("regression", "category"), ("regression", "boolean"), ("classification", "number")],
)
def test_a_stated_type_must_suit_the_target(task, stated):
    frame = PLAIN if task == "classification" else PLAIN.assign(y=np.linspace(0, 1, 100))
    with pytest.raises(InputError, match=f"contract.y.type is {stated}"):
        infer_contract(frame, use_case(task, contract={"y": {"type": stated}}))


def test_a_single_row_has_a_contract():
    contract = infer_contract(PLAIN.iloc[:1], use_case())
    assert contract.labels == ("u",)
    assert contract.positive is None


def test_dropping_every_raw_column_is_fine_where_features_are_derived():
    features = {"drop": ["size", "kind"], "derive": {"double": "size * 2"}}
    assert len(infer_contract(PLAIN, use_case(features=features)).features) == 2


@pytest.mark.parametrize("rule", [{}, {"type": "category"}, {"type": "boolean"}])
@pytest.mark.parametrize(
    "values",
    [["b", "a", None, " ", "a", "b"], ["Yes", "yes ", "no", "NO", "maybe", "no"], ["1", "01", "1"]],
)
def test_text_has_the_same_facts_however_it_is_held(values, rule):
    held = pd.Series(values, dtype="str")
    assert typed(held, **rule) == typed(held.astype(object), **rule)
