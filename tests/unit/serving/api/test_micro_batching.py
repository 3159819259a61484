"""Rows that wait for a busy native model go together; each gets its own answer."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from evergreen.serving.api.micro_batching import MicroBatcher
from evergreen.serving.runtime import load_runtime
from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW
from tests.support.models import small_contract, small_table


class Gated:
    """A native model that predicts when it is let, and knows what it was asked for."""

    def __init__(self, folder):
        self.runtime, self.open, self.asked = load_runtime(folder), threading.Event(), []

    def predict(self, inputs):
        self.open.wait(30)
        self.asked.append(len(inputs["crew"]))
        if any(harbour == "rock" for harbour in inputs["harbour"]):
            raise ValueError("there is a rock")
        return self.runtime.predict(inputs)


@pytest.fixture(scope="module")
def native_bundle(class_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("native") / "bundle"
    shutil.copytree(class_bundle, folder)
    manifest = folder / "manifest.json"
    changed = {"runtime": "native", "runtime_reason": "a test wants it"}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changed}))
    return folder


@pytest.fixture
def gated(native_bundle):
    return Gated(native_bundle)


def rows(count):
    frame = small_table(seed=3, rows=count)
    columns = {
        column.name: frame[column.name].to_numpy(copy=True) for column in small_contract().features
    }
    return [{name: all_[n : n + 1] for name, all_ in columns.items()} for n in range(count)]


def predict_all(inputs, models, limit=64, cancel=None):
    """Ask for the first row, then, while the model is busy, for the others; return the answers."""

    async def ask():
        batcher = MicroBatcher(in_thread, limit)
        tasks = [asyncio.create_task(batcher.predict(models[0], inputs[0]))]
        await asyncio.sleep(0)
        tasks += [
            asyncio.create_task(batcher.predict(model, one))
            for model, one in zip(models[1:], inputs[1:], strict=True)
        ]
        await asyncio.sleep(0)
        if cancel is not None:
            tasks[cancel].cancel()
        for model in models:
            model.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with ThreadPoolExecutor(2) as threads:

        def in_thread(work, *arguments):
            return asyncio.get_running_loop().run_in_executor(threads, work, *arguments)

        return asyncio.run(ask())


def assert_alone(answer, gated, one):
    expected = gated.runtime.predict(one)
    assert answer.predictions.tolist() == expected.predictions.tolist()
    np.testing.assert_array_equal(answer.probabilities, expected.probabilities)


def test_what_comes_meanwhile_goes_together(gated):
    inputs = rows(21)
    answers = predict_all(inputs, [gated] * 21)
    assert gated.asked == [1, 20]
    for answer, one in zip(answers, inputs, strict=True):
        assert_alone(answer, gated, one)


@pytest.mark.parametrize(("limit", "asked"), [(8, [1, 8, 8, 4]), (1, [1] * 21)])
def test_no_more_at_once_than_the_limit(gated, limit, asked):
    inputs = rows(21)
    answers = predict_all(inputs, [gated] * 21, limit)
    assert gated.asked == asked
    for answer, one in zip(answers, inputs, strict=True):
        assert_alone(answer, gated, one)


def test_a_row_that_fails_fails_alone(gated):
    inputs = rows(4)
    inputs[2]["harbour"] = np.array(["rock"], dtype=object)
    answers = predict_all(inputs, [gated] * 4)
    assert isinstance(answers[2], ValueError)
    for place in (0, 1, 3):
        assert_alone(answers[place], gated, inputs[place])


def test_versions_are_never_mixed(gated, native_bundle):
    other = Gated(native_bundle)
    models = [gated, gated, other, gated, other]
    answers = predict_all(rows(5), models)
    assert (gated.asked, other.asked) == ([1, 2], [2])
    assert not any(isinstance(answer, Exception) for answer in answers)


def test_a_caller_who_went_away_is_left_out(gated):
    inputs = rows(4)
    answers = predict_all(inputs, [gated] * 4, cancel=1)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert gated.asked == [1, 2]
    assert_alone(answers[3], gated, inputs[3])


def test_the_api_answers_many_callers_of_a_native_model(api_of, native_bundle):
    api = api_of(native_bundle)
    crews = list(range(1, 13))

    async def ask_all():
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await asyncio.gather(
                *(client.post("/predict", json={**ROW, "crew": crew}) for crew in crews)
            )

    together = asyncio.run(ask_all())
    assert len(api.runtime.asked) < len(crews)
    alone = api_of(native_bundle, ServingConfig(micro_batch=1))
    for crew, answer in zip(crews, together, strict=True):
        expected = alone.post("/predict", {**ROW, "crew": crew}).json()
        assert answer.json()["probabilities"] == expected["probabilities"]
    logged = {row["request_id"]: row for row in api.rows_logged()}
    assert set(logged) == {answer.json()["request_id"] for answer in together}
