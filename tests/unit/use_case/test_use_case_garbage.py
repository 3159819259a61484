"""Whatever a file holds, there is a use case or one message, never another error."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.config import UseCase
from evergreen.config_schema import use_case_schema
from evergreen.errors import InputError
from evergreen.use_case import load_use_case


def known_words() -> list[str]:
    """Return every key and literal of the schema: garbage made of them gets further."""
    words = {"xgboost", "ridge", "rmse", "accuracy", "sklearn:wine", "a.csv", "90d", "https://a.b"}
    stack = [use_case_schema()]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            words |= {word for word in node.get("enum", ()) if isinstance(word, str)}
            words |= set(node.get("properties", ()))
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return sorted(words)


WORDS = st.sampled_from(known_words())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(list(keys)[:8], VALUES))
        for name, node in use_case_schema()["properties"].items()
        for keys in [
            use_case_schema()["$defs"].get(node.get("$ref", "")[8:], {}).get("properties", {})
        ]
    },
)
QUIETLY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def load(folder, content: bytes, *overrides: str) -> None:
    file = folder / "shop.yaml"
    file.write_bytes(content)
    try:
        assert isinstance(load_use_case(file, overrides), UseCase)
    except InputError as error:
        assert str(error).strip()
        # Compared, not encoded alone: the report of a failure has to be printable as well.
        assert str(error) == str(error).encode(errors="replace").decode()
        assert "Input should be" not in str(error)


@QUIETLY
@given(content=st.binary(max_size=60))
def test_random_bytes(tmp_path, content):
    load(tmp_path, content)


@QUIETLY
@given(content=st.text(st.sampled_from("ab: -[]{},&*!|>'\"#%@\n\t?~0.<="), max_size=40))
def test_random_punctuation(tmp_path, content):
    load(tmp_path, content.encode())


@QUIETLY
@given(data=SECTIONS)
def test_random_values_of_known_keys(tmp_path, data):
    load(tmp_path, json.dumps(data).encode())


@QUIETLY
@given(key=st.lists(WORDS, min_size=1, max_size=4), value=st.text(max_size=12) | WORDS)
def test_random_overrides(tmp_path, key, value):
    head = b"task: regression\ndata: {source: a.csv, target: y}\n"
    load(tmp_path, head, f"{'.'.join(key)}={value}")


@QUIETLY
@given(override=st.text(max_size=20))
def test_random_text_as_an_override(tmp_path, override):
    load(tmp_path, b"task: regression\ndata: {source: a.csv, target: y}\n", override)
