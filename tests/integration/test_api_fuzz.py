"""Every POST under fire: no 5xx, and nothing accepted that the contract forbids."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.support.contract_api import ROW, make_api
from tests.support.models import write_small_bundle
from tests.support.oracle import broken_promises, different_inputs, parsed, wrong_with

EXAMPLES = 1200  # fifteen requests each
FIELDS = list(ROW)
NANOSECONDS = re.compile(r"\.\d{7,}")
DONE: Counter[str] = Counter()
ACCEPTED: list[dict] = []  # rows, and below: what the model got for them
GOT: list[dict] = []

texts = st.text(max_size=12) | st.sampled_from(["", " ", "Kiel", "Åbo", "kiel", "NA", "1", "a\0b"])
numbers = (
    st.floats()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.sampled_from([0, -0.0, 1, 5.5, 12, 12.0, 13, 60, 60.0001, 1e39, -1e308, 2**53 + 1])
)
moments = st.datetimes().map(lambda moment: moment.isoformat()) | st.sampled_from(
    [
        "1995-06-01",
        "1995-06-01T12:30:00Z",
        "1995-06-01 12:30:00.123456789+05:30",
        "1995-06-01T12",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2024-02-30",
        "20240131",
        "2024-W05-1",
        "now",
        "１９９５-06-01",
        1700000000,
        1.7e12,
        -5,
        1e30,
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
good = {
    "mast / height": st.floats(0, 60) | st.integers(0, 60) | st.none(),
    "crew": st.integers(1, 12),
    "licensed": st.booleans() | st.sampled_from([0, 1, 0.0, 1.0]),
    "harbour": st.sampled_from(["Kiel", "Åbo", None, ""]),
    "built": st.datetimes().map(lambda moment: moment.isoformat()) | st.none(),
}
good_rows = st.fixed_dictionaries(good)
odd_value = st.one_of(numbers, texts, moments, st.booleans(), st.none(), anything)


@st.composite
def rows(draw):
    """Draw a row that is good but for a few places."""
    row = draw(good_rows)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(FIELDS))
        row[name] = draw(odd_value)
    if draw(st.integers(0, 9)) == 0:
        row.pop(draw(st.sampled_from(FIELDS)), None)
    if draw(st.integers(0, 19)) == 0:
        row[draw(texts)] = draw(odd_value)
    return row


PUT_IN = [b"", b'"', b"\\", b":", b",", b"{", b"[", b"\xff", b"NaN", b"\0", b"1e999", b"\\u003a"]


def damaged(body: bytes, dice: random.Random) -> bytes:
    """Return a body with a byte or two changed, put in or cut."""
    for _ in range(dice.randint(1, 2)):
        at, cut = dice.randrange(len(body) + 1), dice.randint(0, 3)
        body = body[:at] + dice.choice(PUT_IN) + body[at + cut :]
    return body


def repeated(body: bytes, dice: random.Random) -> bytes:
    """Return a body with one part of it twice, such as a name with its value."""
    parts = body.split(b", ")
    at = dice.randrange(len(parts))
    return b", ".join([*parts[: at + 1], *parts[at:]])


def tensors(table):
    kinds = {"harbour": "BYTES", "built": "BYTES", "licensed": "BOOL"}
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(table)],
                "datatype": kinds.get(name, "FP64"),
                "data": [row.get(name) for row in table],
            }
            for name in dict.fromkeys(name for row in table for name in row)
        ]
    }


def bodies(table):
    """Return the same rows as each endpoint takes them."""
    columns = list(dict.fromkeys(name for row in table for name in row))
    split = {"columns": columns, "data": [[row.get(name) for name in columns] for row in table]}
    return {
        "/predict": table[0],
        "/explain": table[0],
        "/predict/batch": table,
        "/invocations": {"dataframe_split": split},
        "/v2/models/boats/infer": tensors(table),
        "/feedback": {"request_id": "a", "label": table[0].get("harbour")},
    }


def rows_of(path, content):
    """Return the rows of a body that was accepted."""
    if path in {"/predict", "/explain"}:
        if isinstance(content, dict) and set(content) == {"features"}:
            return [dict(zip(FIELDS, content["features"], strict=True))]
        return [content]
    if path == "/predict/batch":
        if isinstance(content, dict):
            return [dict(zip(FIELDS, row, strict=True)) for row in content["features"]]
        return content
    if path == "/invocations":
        if "dataframe_split" in content:
            split = content["dataframe_split"]
            names = split.get("columns") or FIELDS
            return [dict(zip(names, row, strict=True)) for row in split["data"]]
        return next(iter(content.values()))
    size = max((len(tensor["data"]) for tensor in content["inputs"]), default=0)
    return [
        {tensor["name"]: tensor["data"][at] for tensor in content["inputs"]} for at in range(size)
    ]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    home = tmp_path_factory.mktemp("fuzz")
    write_small_bundle(home / "bundle")
    made = make_api(home / "bundle", home)
    yield made
    made.close()


@pytest.fixture(scope="module")
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


async def ask(app, path, body, content_type=b"application/json"):
    sent = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", content_type), (b"content-length", b"%d" % len(body))],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def check(api, loop, path, body):
    """Make one request, and judge the answer."""
    api.runtime.asked.clear()
    status, answer = loop.run_until_complete(ask(api.app, path, body))
    DONE[f"{path} {status}"] += 1
    assert status < 500, (path, body, answer)
    content = json.loads(answer, parse_constant=math.nan)  # never NaN or Infinity
    if status >= 400:
        assert content["status"] == status
        assert content["detail"]
        return status
    if path == "/feedback":
        entry = parsed(body)
        entries = entry if isinstance(entry, list) else [entry]
        assert all(one["label"] in {"calm", "gale", "storm"} for one in entries)
        return status
    try:
        accepted = rows_of(path, parsed(body, nan=path == "/invocations"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AssertionError(f"{path} took {body!r}: {error!r}") from error
    wrong = wrong_with(accepted, api.runtime.contract)
    assert wrong is None, (path, body, wrong)
    if accepted:
        ACCEPTED.extend(accepted)
        GOT.append(api.runtime.asked[0])
    return status


PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a failure shows its body; making it smaller takes minutes
)


@PROFILE
@given(data=st.data())
def test_nothing_breaks_and_nothing_wrong_is_accepted(api, loop, data):
    table = data.draw(st.lists(rows(), min_size=1, max_size=2))
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    for path, content in bodies(table).items():
        if path == "/explain" and dice.randrange(20):
            continue  # SHAP values take their time
        try:
            body = json.dumps(content).encode("utf-8", "surrogatepass")
        except ValueError:  # more digits than Python writes
            assume(False)
        for variant in (body, damaged(body, dice), repeated(body, dice)):
            check(api, loop, path, variant)


@settings(PROFILE, max_examples=200)
@given(row=good_rows)
def test_good_rows_are_accepted_by_every_protocol(api, loop, row):
    for path, content in bodies([row]).items():
        if path not in {"/feedback", "/explain"}:
            body = json.dumps(content).encode()
            if path.startswith("/v2"):  # 0 and 1 are no BOOL there
                body = json.dumps(tensors([{**row, "licensed": bool(row["licensed"])}])).encode()
            assert check(api, loop, path, body) == 200, (path, body)


@settings(PROFILE, max_examples=300)
@given(content=anything)
def test_any_json_is_answered(api, loop, content):
    body = json.dumps(content).encode("utf-8", "surrogatepass")
    for path in bodies([ROW]):
        check(api, loop, path, body)


def test_what_was_accepted_keeps_every_promise(api):
    assert len(ACCEPTED) > 1000
    contract = api.runtime.contract
    got = {name: np.concatenate([one[name] for one in GOT]) for name in FIELDS}
    # pandas reads a column of texts in nanoseconds, years 1678 to 2262, if one of them is so exact.
    exact = np.array([is_exact(row.get("built")) for row in ACCEPTED])
    for chosen in (exact, ~exact):
        rows = [row for row, taken in zip(ACCEPTED, chosen, strict=True) if taken]
        assert broken_promises(rows, contract) == []
        asked = {name: values[chosen] for name, values in got.items()}
        assert different_inputs(asked, rows, contract) is None


def is_exact(built):
    return isinstance(built, str) and bool(NANOSECONDS.search(built))


def test_there_were_enough_requests():
    assert sum(DONE.values()) >= 20_000
    for path in bodies([ROW]):
        assert DONE[f"{path} 422"]
        assert DONE[f"{path} 200"] or path == "/feedback"
