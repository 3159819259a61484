from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import InputError
from evergreen.expressions import FUNCTIONS, parse, parse_derived

NAMES = ("a", "b", "odd/name", "class", "µg")
VALUES = st.one_of(
    st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0, -1.0, 2.5, math.nan, math.inf, 1e308])
)


def evaluate(text, **values):
    values = {name: np.asarray(value, dtype=float) for name, value in values.items()}
    return parse(text).evaluate(values)


def quoted(name):
    return name if name in ("a", "b", "µg") else f"`{name}`"


# --- property: the language agrees with plain Python on one row ------------------------------


def scalar(operation):
    """Wrap a Python function: missing in, missing out; no finite result is missing."""

    def apply(*values):
        if any(math.isnan(value) for value in values):
            return math.nan
        try:
            result = operation(*values)
        except (ZeroDivisionError, ValueError, OverflowError):
            return math.nan
        if isinstance(result, complex) or not math.isfinite(result):
            return math.nan
        return float(result)

    return apply


BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "and": lambda a, b: bool(a) and bool(b),
    "or": lambda a, b: bool(a) or bool(b),
}
UNARY = {
    "log({})": math.log,
    "log1p({})": math.log1p,
    "exp({})": math.exp,
    "sqrt({})": math.sqrt,
    "abs({})": abs,
    "floor({})": math.floor,
    "ceil({})": math.ceil,
    "round({})": round,
    "(-{})": lambda a: -a,
    "(+{})": lambda a: a,
    "(not {})": lambda a: not a,
}


def build(draw, depth):
    """Return a text, and the function of one row that it should be."""
    kind = draw(st.integers(0, 6 if depth else 1))
    if kind == 0:
        value = draw(st.floats(0, 100).map(lambda number: round(number, 3)))
        return repr(value), lambda row: value
    if kind == 1:
        name = draw(st.sampled_from(NAMES))
        return quoted(name), lambda row: row[name] if math.isfinite(row[name]) else math.nan
    if kind in (2, 3):
        sign = draw(st.sampled_from(sorted(BINARY)))
        (left, f), (right, g) = build(draw, depth - 1), build(draw, depth - 1)
        operation = scalar(BINARY[sign])
        return f"({left} {sign} {right})", lambda row: operation(f(row), g(row))
    if kind == 4:
        form = draw(st.sampled_from(sorted(UNARY)))
        inner, f = build(draw, depth - 1)
        operation = scalar(UNARY[form])
        return form.format(inner), lambda row: operation(f(row))
    (one, f), (two, g), (three, h) = (build(draw, depth - 1) for _ in range(3))
    if kind == 5:
        form = draw(st.sampled_from(["({1} if {0} else {2})", "where({0}, {1}, {2})"]))

        def choose(row):
            condition = f(row)
            return condition if math.isnan(condition) else g(row) if condition else h(row)

        return form.format(one, two, three), choose
    clip = scalar(lambda x, low, high: min(max(x, low), high))
    return f"clip({one}, {two}, {three})", lambda row: clip(f(row), g(row), h(row))


@st.composite
def expressions(draw):
    text, function = build(draw, 3)
    return f"{text} + 0 * is_missing(a)", function


@settings(max_examples=150, deadline=None)
@given(expressions(), st.lists(st.tuples(*[VALUES] * len(NAMES)), min_size=1, max_size=4))
def test_agrees_with_python(expression, table):
    text, function = expression
    rows = [dict(zip(NAMES, values, strict=True)) for values in table]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = parse(text, NAMES).evaluate(
            {name: np.array([row[name] for row in rows]) for name in NAMES}
        )
    assert result.dtype == np.float64
    assert result.shape == (len(rows),)
    assert not np.isinf(result).any()
    np.testing.assert_allclose(result, [function(row) for row in rows], rtol=1e-9, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab019.+-*/%()<>=!,` \n#'\"[]{}:;@^&|~\\éµ", max_size=30))
def test_any_text_is_an_expression_or_an_input_error(text):
    try:
        parsed = parse(text, ["a", "b"])
    except InputError:
        return
    result = parsed.evaluate({"a": np.array([1.0, 0.0]), "b": np.array([np.nan, 2.0])})
    assert not np.isinf(result).any()


# --- what it means --------------------------------------------------------------------------


def test_odd_names_and_order_of_columns():
    expression = parse("`alcohol/vol` * 2 - `a b` + x")
    assert expression.columns == ("alcohol/vol", "a b", "x")
    result = expression.evaluate(
        {"alcohol/vol": np.array([1.0]), "a b": np.array([2.0]), "x": np.array([3])}
    )
    assert result.tolist() == [3.0]


def test_names_are_taken_as_written():
    # U+00B5 (micro sign); Python itself would read U+03BC (Greek mu).
    assert parse("\u00b5g + 1").columns == ("\u00b5g",)


def test_spans_lines():
    assert evaluate("  a\n  + b\n", a=[1.0], b=[2.0]).tolist() == [3.0]


def test_chained_comparison():
    assert evaluate("0 < a <= 2", a=[-1.0, 1.0, 2.0, 3.0]).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("text", ["a / b", "log(b)", "log1p(b - 1)", "1 / b", "a % b", "b ** -1"])
def test_no_finite_result_is_missing(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(evaluate(text, a=[1.0], b=[0.0])).all()


def test_missing_stays_missing_but_for_is_missing_and_the_branch_not_taken():
    a, b = [np.nan, 1.0], [2.0, 2.0]
    assert np.isnan(evaluate("a > b", a=a, b=b)[0])
    assert np.isnan(evaluate("a > b or b > 1", a=a, b=b)[0])
    assert np.isnan(evaluate("max(a, b)", a=a, b=b)[0])
    assert evaluate("is_missing(a)", a=a).tolist() == [1.0, 0.0]
    assert evaluate("0 if is_missing(a) else a", a=a).tolist() == [0.0, 1.0]


def test_round_goes_to_even_and_modulo_has_the_divisors_sign():
    assert evaluate("round(a)", a=[0.5, 1.5, 2.5]).tolist() == [0.0, 2.0, 2.0]
    assert evaluate("a % 3", a=[-1.0]).tolist() == [2.0]


def test_evaluate_names_a_column_that_is_not_given():
    with pytest.raises(InputError, match="needs the column 'b'"):
        evaluate("a + b", a=[1.0])


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("a + zz", 5, "there is no column 'zz'"),
        ("a + `odd/nam`", 5, "did you mean `odd/name`?"),
        ("`odd/name` + zz", 14, "there is no column 'zz'"),
        ("a + loog(b)", 5, "did you mean log?"),
        ("a + foo.bar", 5, "attribute access"),
        ("a[0]", 1, "indexing"),
        ("a + 'x'", 5, "'x' is no number"),
        ("a + None", 5, "None is no number"),
        ("a // b", 1, r"floor\(a / b\)"),
        ("a ^ 2", 1, "a power is written"),
        ("a is b", 1, "is_missing"),
        ("a in b", 1, "'in' is not allowed"),
        ("~a", 1, "write 'not'"),
        ("log(a, b)", 1, "log takes 1 argument, not 2"),
        ("min(a)", 1, "min takes 2 or more arguments, not 1"),
        ("clip(a, low=1, high=2)", 1, "by position"),
        ("min(*a)", 1, "by position"),
        ("a if b", 1, "cannot be read"),
        ("a +", 1, "cannot be read"),
        ("a; b", 2, "cannot be read"),
        ("a # b", 3, "'#' is not allowed"),
        ("a + `b", 5, "a backtick is not closed"),
        ("1 + 1", 1, "it reads no column"),
        ("(lambda: 1)()", 1, "'lambda' is not allowed"),
        ("__import__('os').system('true')", 1, "attribute access"),
        ("[a for a in b]", 1, "ListComp is not part of the language"),
        ("(b := a)", 2, "NamedExpr is not part of the language"),
        ("a + outcome", 5, "cannot be used: it is the target"),
        ("a + " + "9" * 400, 5, "the number is too large"),
        ("(" * 60 + "-" * 120 + "a" + ")" * 60, 1, "nested more than 100 deep"),
    ],
)
def test_refusals_say_where_and_what(text, position, reason):
    with pytest.raises(InputError, match=f"position {position}: .*{reason}"):
        parse(text, NAMES, {"outcome": "it is the target"})


@pytest.mark.parametrize("text", ["", "  ", "a" * 3000, "(" * 900 + "a" + ")" * 900])
def test_empty_long_and_deep_texts_are_refused(text):
    with pytest.raises(InputError):
        parse(text)


def test_every_function_is_listed_for_an_unknown_one():
    with pytest.raises(InputError) as error:
        parse("nothing_like_it(a)")
    assert all(function in str(error.value) for function in FUNCTIONS)


# --- columns that use each other ------------------------------------------------------------


def test_derived_columns_may_use_each_other_in_any_order():
    derived = parse_derived({"c": "b * 2", "b": "a + 1"}, ["a"])
    assert list(derived) == ["b", "c"]


@pytest.mark.parametrize("derive", [{"b": "b + 1"}, {"b": "c + 1", "c": "a + d", "d": "b * 2"}])
def test_circles_are_refused(derive):
    with pytest.raises(InputError, match="in a circle"):
        parse_derived(derive, ["a"])


def test_derived_names_the_column_at_fault():
    with pytest.raises(InputError, match=r"features\.derive\.ratio: 'a / bb', position 5"):
        parse_derived({"ratio": "a / bb"}, ["a", "b"])
