from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.expressions import FUNCTIONS, OPERATIONS, parse, parse_derived
from evergreen.onnx_export import operations
from evergreen.onnx_export.expressions import Columns, Derivation
from evergreen.onnx_export.graph import DOUBLE, Graph
from tests.support.graphs import derive_by_graph

ODD = [
    *(np.nan, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 2.0, 3.0, 7.0, -7.0, 100.0),
    *(1e-320, 1e-17, -1e-17, 1e-9, 0.1, 1e17, -1e17, 710.0, -750.0, 1e154, 1e308, -1e308),
]
PAIRS = np.array([(left, right) for left in ODD for right in ODD])
TEXTS = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "modulo": "a % b",
    "power": "a ** b",
    "negative": "-a",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "equal": "a == b",
    "not_equal": "a != b",
    "and": "a and b",
    "or": "a or b",
    "not": "not a",
    "where": "where(a, b, a)",
    "log": "log(a)",
    "log1p": "log1p(a)",
    "exp": "exp(a)",
    "sqrt": "sqrt(a)",
    "abs": "abs(a)",
    "floor": "floor(a)",
    "ceil": "ceil(a)",
    "round": "round(a)",
    "min": "min(a, b)",
    "max": "max(a, b)",
    "clip": "clip(a, b, b + 1)",
    "is_missing": "is_missing(a)",
}
INEXACT = {"log": 3e-16, "log1p": 1e-15, "exp": 1e-15, "power": 1e-14}


def assert_alike(expressions, values, tolerance=0.0):
    found = derive_by_graph(expressions, values)
    known = dict(values)
    for name, expression in expressions.items():
        known[name] = np.broadcast_to(expression.evaluate(known), len(values["a"]))
        np.testing.assert_allclose(found[name], known[name], rtol=tolerance, atol=0)


def test_every_operation_has_a_graph():
    assert set(operations._EMITTERS) == set(OPERATIONS) == set(TEXTS)
    assert set(FUNCTIONS) <= set(TEXTS)


@pytest.mark.parametrize("operation", TEXTS)
def test_an_operation_gives_what_numpy_gives(operation):
    expression = parse(TEXTS[operation])
    values = {"a": PAIRS[:, 0], "b": PAIRS[:, 1]}
    assert_alike({"x": expression}, values, INEXACT.get(operation, 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "a + 1",
        "1 - a",
        "2 / a",
        "a / 0",
        "min(a, 3, b)",
        "max(-1, a)",
        "a and b and 1",
        "0 or a or b",
        "1 if a > b else 2",
        "where(is_missing(a), 0, a)",
        "where(1, b, 2)",
        "1 < a <= b < 100",
        "a * (2 * 3 - 1)",
        "a % 0",
        "-a % 3",
    ],
)
def test_constants_may_stand_anywhere(text):
    assert_alike({"x": parse(text)}, {"a": PAIRS[:, 0], "b": PAIRS[:, 1]})


ATOMS = st.sampled_from(["a", "b", "0", "1", "2.5", "0.1"])
NESTED = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/%"), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", ">=", "==", "or"]), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "floor", "sqrt", "-"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(NESTED, min_size=1, max_size=4))
def test_derived_columns_give_what_numpy_gives(texts):
    derive = {"first": "a + b", **{f"x{place}": f"a + {t}" for place, t in enumerate(texts)}}
    derive["last"] = f"x0 * first - {texts[-1]}"
    assert_alike(parse_derived(derive), {"a": PAIRS[:, 0], "b": PAIRS[:, 1]})


def test_like_calls_share_a_node():
    names = [f"c{place}" for place in range(8)]
    derive = {f"share {name}": f"{name} / c0" for name in names[1:]}
    derive["deep"] = "c1 / (c2 + c3)"
    graph = Graph()
    columns = Columns(graph)
    columns.define(names, graph.input("numbers", DOUBLE, 8))
    columns.derive(Derivation(parse_derived(derive)))
    used = [node.op_type for node in graph.nodes]
    assert (used.count("Div"), used.count("Add")) == (1, 1)


def test_equal_parts_are_computed_once():
    graph = Graph()
    columns = Columns(graph)
    columns.define(["a", "b"], graph.input("numbers", DOUBLE, 2))
    columns.derive(Derivation(parse_derived({"x": "log(a + b)", "y": "exp(a + b)"})))
    assert [node.op_type for node in graph.nodes].count("Add") == 1


def test_a_wrong_operation_would_be_noticed(monkeypatch):
    swapped = {**operations._EMITTERS, "less": operations._EMITTERS["less_equal"]}
    monkeypatch.setattr(operations, "_EMITTERS", swapped)
    with pytest.raises(AssertionError):
        assert_alike({"x": parse("a < b")}, {"a": PAIRS[:, 0], "b": PAIRS[:, 1]})
