"""The process that explains predictions for a worker."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from evergreen.errors import RefusedError, UnreachableError
from evergreen.serving.explain_process import ExplainProcess
from tests.support.models import small_contract, small_table, write_small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("explained") / "bundle")


@pytest.fixture
def inputs():
    frame, contract = small_table("classification", seed=3, rows=4), small_contract()
    return {column.name: frame[column.name].to_numpy(copy=True) for column in contract.features}


@pytest.fixture
def process(bundle):
    explainer = ExplainProcess(bundle.folder)
    yield explainer
    explainer.close()


def children(folder: Path) -> list[psutil.Process]:
    """Return the processes that explain by the bundle in this folder."""
    found = []
    for each in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # also where it has just ended
            if {"evergreen.serving.explain_process", str(folder)} <= set(each.cmdline()):
                found.append(each)
    return found


def wait_until_none_is_left(folder: Path) -> None:
    end = time.monotonic() + 30
    while children(folder):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_every_field_gets_its_values_and_this_process_stays_small(process, bundle, inputs):
    values = process.explain(inputs)
    assert list(values) == list(inputs)
    assert all(np.isfinite(found).all() and len(found) == 4 for found in values.values())
    (child,) = children(bundle.folder)
    again = process.explain(inputs)
    assert [found.tolist() for found in again.values()] == [
        found.tolist() for found in values.values()
    ]
    assert children(bundle.folder) == [child]


def test_a_process_that_was_killed_is_replaced(process, bundle, inputs):
    process.explain(inputs)
    (child,) = children(bundle.folder)
    os.kill(child.pid, signal.SIGKILL)
    assert process.explain(inputs)
    (other,) = children(bundle.folder)
    assert other.pid != child.pid


def test_what_no_process_can_answer_is_said(process, inputs, tmp_path):
    with pytest.raises(RuntimeError, match="Traceback"):
        process.explain({"wind": next(iter(inputs.values()))})
    assert process.explain(inputs), "the next question is answered"
    with pytest.raises(UnreachableError, match="ends at once"):
        ExplainProcess(tmp_path).explain(inputs)


def test_a_model_without_shap_values_is_refused(tmp_path, inputs):
    dummy = write_small_bundle(tmp_path / "bundle", candidate="baseline")
    process = ExplainProcess(dummy.folder)
    with pytest.raises(RefusedError, match="cannot be explained"):
        process.explain(inputs)
    process.close()
    assert not children(dummy.folder)


def test_it_ends_when_nothing_is_asked_and_starts_again(bundle, inputs):
    process = ExplainProcess(bundle.folder, idle=0.2)
    process.explain(inputs)
    wait_until_none_is_left(bundle.folder)
    assert process.explain(inputs)
    process.close()


def test_it_ends_where_its_model_is_not_used_any_more(bundle, inputs):
    process = ExplainProcess(bundle.folder)
    process.explain(inputs)
    assert children(bundle.folder)
    del process
    wait_until_none_is_left(bundle.folder)


def test_a_slow_one_is_ended(bundle, inputs):
    process = ExplainProcess(bundle.folder, patience=0.01)
    with pytest.raises(UnreachableError, match=r"within 0\.01 s"):
        process.explain(inputs)
    assert not children(bundle.folder)
