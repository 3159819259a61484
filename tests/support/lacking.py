"""What a test needs that a machine may not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(need: str) -> NoReturn:
    """Skip the test; in continuous integration, which must have all, fail."""
    pytest.fail(need) if "CI" in os.environ else pytest.skip(need)
