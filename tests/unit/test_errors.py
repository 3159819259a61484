"""An error's text is the product: it can always be printed."""

from __future__ import annotations

import pytest

from evergreen.errors import InputError, RefusedError, UnreachableError


@pytest.mark.parametrize("kind", [InputError, RefusedError, UnreachableError])
def test_half_of_a_surrogate_pair_is_shown_by_its_escape(kind):
    assert str(kind("no column '\ud800é'")) == "no column '\\ud800é'"


def test_other_text_stays_as_it_is():
    assert str(InputError("Größe: 3 µm\n  → 🌲")) == "Größe: 3 µm\n  → 🌲"
