"""POST /predict/batch: the same rows in every format give the same answers."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import PROMISES, ROW

ROWS = [
    ROW,
    {**ROW, "mast / height": None, "crew": 1, "licensed": False, "harbour": None, "built": None},
    {**ROW, "mast / height": 7, "crew": 9, "harbour": "Åbo"},
]
PARQUET = {"content-type": "application/vnd.apache.parquet"}
CSV = {"content-type": "text/csv"}


def frame() -> pd.DataFrame:
    table = pd.DataFrame(ROWS)
    table["built"] = pd.to_datetime(table["built"])
    return table


def parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    return sink.getvalue()


def csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def shares(api) -> list[list[float]]:
    return [list(api.post("/predict", row).json()["probabilities"].values()) for row in ROWS]


def test_json_is_answered_row_by_row(api):
    response = api.post("/predict/batch", ROWS)
    assert response.status_code == 200
    answer = response.json()
    assert answer["rows"] == 3
    assert answer["model_version"] == "3"
    assert [row["row"] for row in answer["predictions"]] == [0, 1, 2]
    assert [list(row["probabilities"].values()) for row in answer["predictions"]] == shares(api)


def test_values_alone_and_lines_are_answered_alike(api):
    expected = api.post("/predict/batch", ROWS).json()["predictions"]
    listed = api.post("/predict/batch", {"features": [list(row.values()) for row in ROWS]})
    assert listed.json()["predictions"] == expected
    lines = "\n".join(json.dumps(row) for row in ROWS).encode()
    response = api.post("/predict/batch", lines, headers={"content-type": "application/x-ndjson"})
    assert [json.loads(line) for line in response.text.splitlines()] == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_answered_with_csv(api, delimiter):
    body = frame().to_csv(index=False, sep=delimiter).encode()
    response = api.post("/predict/batch", body, headers=CSV)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv"
    answer = pd.read_csv(io.StringIO(response.text))
    assert answer.filter(like="probability").to_numpy().tolist() == shares(api)
    assert list(answer.columns[:3]) == ["row", "prediction", "probability.calm"]


def test_parquet_is_answered_with_parquet(api):
    response = api.post("/predict/batch", parquet(frame()), headers=PARQUET)
    assert response.status_code == 200, response.text
    answer = pd.read_parquet(io.BytesIO(response.content))
    assert answer.filter(like="probability").to_numpy().tolist() == shares(api)


def test_accept_chooses_the_format(api):
    response = api.post(
        "/predict/batch", csv(frame()), headers={**CSV, "accept": "application/json"}
    )
    assert response.json()["rows"] == 3


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", CSV, 400, "header is expected"),
        (b"a,a\n1,2\n", CSV, 400, "stands twice"),
        (b"a,b\n1\n", CSV, 400, "Line 2 of the CSV has 1 cells, the header 2"),
        (b'a,b\n1,"2\n', CSV, 400, "cannot be read"),
        (b"\xff\xfe", CSV, 400, "no UTF-8"),
        (b"a,\n1,2\n", CSV, 400, "Column 2 has no name"),
        (b"PAR1 hello PAR1", PARQUET, 400, "cannot be read"),
        (b"", PARQUET, 400, "cannot be read"),
        (parquet(frame().drop(columns="crew")), PARQUET, 422, "crew: the column is missing"),
        (csv(frame().drop(columns="crew")), CSV, 422, "crew: the column is missing"),
        (csv(frame().assign(new=1)), CSV, 422, "new: is not a field"),
        (csv(frame().assign(crew="many")), CSV, 422, "row 0, crew: must be a whole number"),
        (csv(frame().assign(crew="1_0")), CSV, 422, "row 0, crew: must be a whole number"),
        (csv(frame().assign(crew="inf")), CSV, 422, "row 0, crew: must be a whole number"),
        (parquet(frame().assign(crew=99)), PARQUET, 422, "row 0, crew: is 99, above 12"),
        (parquet(frame().assign(crew=[[1], [2], [3]])), PARQUET, 422, "nested"),
        (json.dumps([ROW, {**ROW, "crew": "x"}]).encode(), {}, 422, "row 1, crew: must be"),
        (json.dumps([ROW, 5]).encode(), {}, 422, "Row 1 must be an object"),
    ],
)
def test_refuses_a_whole_batch_and_says_which_row(api, body, headers, status, message):
    response = api.post("/predict/batch", body, headers=headers)
    assert response.status_code == status, response.text
    assert message in response.json()["detail"]
    assert api.rows_logged() == []


def test_the_number_of_rows_is_limited_in_every_format(api_of, class_bundle):
    api = api_of(class_bundle, ServingConfig(batch_rows=2))
    for body, headers in [
        (json.dumps(ROWS).encode(), {}),
        (csv(frame()), CSV),
        (parquet(frame()), PARQUET),
    ]:
        response = api.post("/predict/batch", body, headers=headers)
        assert response.status_code == 413
        assert "2 rows" in response.json()["detail"]


def test_a_small_file_that_unpacks_to_much_is_refused(api_of, class_bundle):
    api = api_of(class_bundle)
    body = parquet(pd.concat([frame()] * 5000).assign(harbour="x" * 100_000))
    assert len(body) < 500_000  # and 1.5 GB of text
    response = api.post("/predict/batch", body, headers=PARQUET)
    assert response.status_code == 422
    assert "A text has 100000 characters" in response.json()["detail"]
    small = api_of(class_bundle, ServingConfig(batch_limit=2048))
    numbers = parquet(pd.concat([frame()] * 1000).assign(crew=range(3000)))
    assert small.post("/predict/batch", numbers, headers=PARQUET).status_code == 413


def test_no_rows_are_no_answers(api):
    assert api.post("/predict/batch", []).json()["predictions"] == []
    answer = api.post("/predict/batch", csv(frame().head(0)), headers=CSV)
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 1


def test_every_row_of_a_long_answer_is_there_and_logged(api):
    rows = [{**ROW, "crew": 1 + number % 12} for number in range(5000)]
    response = api.post("/predict/batch", rows)
    answer = response.json()
    assert [row["row"] for row in answer["predictions"]] == list(range(5000))
    logged = api.rows_logged()
    assert sorted(row["request_row"] for row in logged) == list(range(5000))
    assert {row["request_id"] for row in logged} == {answer["request_id"]}


def test_flags_are_told_by_row(api_of, class_bundle):
    api = api_of(class_bundle, ServingConfig(out_of_range="flag"), promises=PROMISES)
    rows = [ROW, {**ROW, "crew": 99}]
    assert [row["flags"] for row in api.post("/predict/batch", rows).json()["predictions"]] == [
        [],
        ["out_of_range:crew"],
    ]
    text = api.post("/predict/batch", rows, headers={"accept": "text/csv"}).text
    assert text.splitlines()[2].endswith("out_of_range:crew")
