"""References are resolved, and their values never show."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.sources.environment import Environment, mask_url
from evergreen.errors import InputError


def test_references_are_resolved():
    environment = Environment({"USER_NAME": "ann", "HOST": "db.example"})
    assert environment.resolve("${USER_NAME}@${HOST}", "k") == "ann@db.example"
    assert environment.resolve("no reference, $HOME, 5$", "k") == "no reference, $HOME, 5$"


def test_an_unset_variable_is_named_with_its_key():
    environment = Environment({"DB_PASSWORD": "hidden-value"})
    with pytest.raises(InputError) as caught:
        environment.resolve("${DB_PASSWROD}", "data.source.url")
    text = str(caught.value)
    assert "DB_PASSWROD is not set" in text
    assert "data.source.url" in text
    assert "did you mean ${DB_PASSWORD}" in text
    assert "hidden-value" not in text
    with pytest.raises(InputError, match="EMPTY is empty"):
        Environment({"EMPTY": ""}).resolve("${EMPTY}", "k")


@pytest.mark.parametrize("text", ["${}", "${A B}", "${A", "${1A}"])
def test_a_malformed_reference_is_refused(text):
    with pytest.raises(InputError, match="malformed reference"):
        Environment({"A": "x"}).resolve(text, "data.source.url")


def test_values_are_encoded_only_where_an_address_needs_it():
    environment = Environment({"PW": "p@ss/w:rd%", "HOST": "db:5432", "KEY": "a&b"})
    resolved = environment.resolve_url("https://u:${PW}@${HOST}/x?key=${KEY}", "k")
    assert resolved == "https://u:p%40ss%2Fw%3Ard%25@db:5432/x?key=a%26b"
    whole = Environment({"URL": "postgresql://u:p@h/d"})
    assert whole.resolve_url("${URL}", "k") == "postgresql://u:p@h/d"


@given(st.text(min_size=3).filter(lambda text: "*" not in text))
def test_no_form_of_a_value_survives_hiding(value):
    environment = Environment({"SECRET": value})
    resolved = environment.resolve("${SECRET}", "k")
    said = environment.hide(f"{resolved}; {value!r} {quote(value, safe='')} {quote_plus(value)}")
    assert value not in said
    assert quote(value, safe="") not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:pw@host/db", "postgresql://app:***@host/db"),
        ("postgresql://app:p@ss/w@host/db", "postgresql://app:***@host/db"),
        ("postgresql://app@host/db", "postgresql://app@host/db"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://host/x?api_key=abc&page=2", "https://host/x?api_key=***&page=2"),
        ("mssql://h/d?PWD=abc#part", "mssql://h/d?PWD=***#part"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
    ],
)
def test_passwords_in_addresses_are_masked(url, shown):
    assert mask_url(url) == shown
