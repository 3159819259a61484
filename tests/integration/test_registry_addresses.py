"""Addresses at which there is no MLflow store that answers."""

from __future__ import annotations

import time

import pytest

from evergreen.errors import InputError, UnreachableError
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9",
        "sqlite:////nowhere/at/all.db",
        "postgresql+psycopg://a:b@127.0.0.1:9/c",
    ],
)
def test_an_unreachable_store_is_named_at_once(uri, tmp_path):
    registry = Registry(uri, PromotionLog(f"sqlite:///{tmp_path}/log.db"), tmp_path)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"(127\.0\.0\.1:9|/nowhere/at/all\.db)") as caught:
        registry.champion("boats")
    assert time.monotonic() - started < 20
    assert ":b@" not in str(caught.value)


def test_an_address_of_no_known_kind(tmp_path):
    registry = Registry("ftp://host", PromotionLog(f"sqlite:///{tmp_path}/log.db"), tmp_path)
    with pytest.raises(InputError, match="no address of an MLflow store"):
        registry.champion("boats")
