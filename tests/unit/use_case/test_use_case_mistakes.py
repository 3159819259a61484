"""Every mistake in a use case file is named with its place, its key, its value and a way out."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from evergreen.errors import InputError
from evergreen.use_case import load_use_case

HEAD = """\
name: shop
task: classification
data:
  source: orders.csv
  target: returned
"""
NO_DATA = "name: shop\ntask: regression\n"

# What follows HEAD (from line 6 on), where the mistake is said to be, and what is said of it.
AFTER_HEAD = [
    ("trainig: {}", "6  trainig: unknown key; did you mean 'training'? Allowed: alerts"),
    (
        "training:\n  trails: 5",
        "7  training.trails: unknown key (value 5); did you mean 'trials'? "
        "Allowed: balance, candidates, dask, early_stopping",
    ),
    (
        "batch: {dask: {workers: 2}}",
        "6  batch: dask shares the partitions of a table; say how many: partitions",
    ),
    (
        "monitoring: {dask: {workers: 2}}",
        "6  monitoring: dask shares the partitions of a window; say how many: partitions",
    ),
    (
        "training:\n  folds: 3",
        "7  training.folds: unknown key (value 3); it belongs at split.folds",
    ),
    ("split: {trials: 3}", "6  split.trials: unknown key (value 3); it belongs at training.trials"),
    (
        "training: {trials: many}",
        "6  training.trials: 'many' is not allowed; expected a whole number of at least 1",
    ),
    ("training: {trials: 0}", "6  training.trials: 0 is not allowed; expected a whole number"),
    ("training: {trials: true}", "6  training.trials: true is not allowed; expected a whole"),
    ("training: {spread: dask}", "6  training: spread dask needs dask.scheduler or dask.workers"),
    ("training: {jobs: 1.5}", "6  training.jobs: 1.5 is not allowed; expected a whole number"),
    ("training: {prune: 3}", "6  training.prune: 3 is not allowed; expected true or false"),
    ("training: {timeout: 5}", "6  training.timeout: 5 needs a unit, such as 90d, 6h"),
    (
        "training: {timeout: 5 minutes}",
        "6  training.timeout: '5 minutes' is not allowed; expected text such as 90d, 6h",
    ),
    ("training: {timeout: 0m}", "6  training.timeout: '0m' must be longer than nothing"),
    (
        "training: {candidates: [xgbost]}",
        "6  training.candidates[0]: unknown candidate 'xgbost'; did you mean 'xgboost'? Allowed: ",
    ),
    (
        "training:\n  candidates:\n    random_forest:\n    lightbgm: {}",
        "9  training.candidates.lightbgm: unknown candidate 'lightbgm'; did you mean 'lightgbm'?",
    ),
    (
        "training: {candidates: [ridge]}",
        "6  training.candidates[0]: 'ridge' is no candidate for classification. Allowed: ",
    ),
    ("training: {candidates: [[1]]}", "6  training.candidates: [[1]] needs a list of names"),
    (
        "training: {candidates: {xgboost: false}}",
        "6  training.candidates.xgboost: false is not allowed; expected a mapping with the keys "
        "params, search, grid",
    ),
    (
        "training: {candidates: {xgboost: {search: {gamma: {lo: 1, high: 3}}}}}",
        "6  training.candidates.xgboost.search.gamma.lo: unknown key (value 1); "
        "did you mean 'low'? Allowed: high, integer, log, low",
    ),
    (
        "training: {candidates: {xgboost: {search: {gamma: {low: 3, high: 1}}}}}",
        "6  training.candidates.xgboost.search.gamma: low 3 is above high 1",
    ),
    (
        "training: {candidates: {xgboost: {search: {gamma: 5}}}}",
        "6  training.candidates.xgboost.search.gamma: 5 is not allowed; expected a mapping with "
        "the keys low, high, log, integer or a list",
    ),
    (
        "training: {candidates: {xgboost: {search: {gamma: [[1]]}}}}",
        "6  training.candidates.xgboost.search.gamma[0]: [1] is not allowed; expected text, ",
    ),
    (
        "training: {candidates: {xgboost: {params: {max_dpth: 3}}}}",
        "6  training.candidates.xgboost.params.max_dpth: there is no such parameter. "
        "Did you mean 'max_depth'?",
    ),
    (
        "training: {candidates: {decision_tree: {search: {}, grid: {}}}}",
        "6  training.candidates.decision_tree: has both a search and a grid; keep one",
    ),
    ("training: {metric: acuracy}", "6  training.metric: unknown metric 'acuracy'; did you mean "),
    ("training: {metric: rmse}", "6  training.metric: 'rmse' is no metric for classification"),
    (
        "split: {method: statified}",
        "6  split.method: 'statified' is not allowed; did you mean 'stratified'? "
        "Allowed: auto, random, stratified, group, time",
    ),
    ("split: {method: time}", "6  split.method: 'time' needs data.timestamp"),
    ("split: {holdout: 2}", "6  split.holdout: 2 is not allowed; expected a number above 0 and "),
    ("split: {folds: -1}", "6  split.folds: -1 is not allowed; expected a whole number of at lea"),
    ("split: {seed: -3}", "expected a whole number of at least 0 and at most 4294967295"),
    (
        "quality: {missing: eror}",
        "6  quality.missing: 'eror' is not allowed; did you mean 'error'? Allowed: off, info, ",
    ),
    (
        "quality:\n  nulls:\n    sevrity: error",
        "8  quality.nulls.sevrity: unknown key (value 'error'); did you mean 'severity'? "
        "Allowed: limit, severity",
    ),
    ("quality: {leakage: {limit: -1}}", "6  quality.leakage.limit: -1 is not allowed; expected "),
    (
        "quality: {missing: {limit: .nan}}",
        "6  quality.missing.limit: .nan is not allowed; expected",
    ),
    (
        "features: {drop: total}",
        "6  features.drop: 'total' is not allowed; expected a list (each item: text); "
        "write [total]",
    ),
    ("features:", "6  features: is empty; expected a mapping with the keys derive, drop"),
    ("features: {derive: {a: 1}}", "6  features.derive.a: 1 is not allowed; expected text; put it"),
    ("features: {derive: {a: x +}}", "6  features.derive.a: 'x +', position 1: it cannot be read"),
    ("features: {derive: {a: b, b: a}}", "6  features.derive: columns need each other in a circle"),
    (
        "features: {selection: {method: rfe}}",
        "6  features.selection.max_features: is missing; expected a whole number of at least 1 "
        "(Features kept at most)",
    ),
    (
        "features: {date_parts: [years]}",
        "6  features.date_parts[0]: 'years' is not allowed; did you mean 'year'? Allowed: year, ",
    ),
    (
        "evaluation: {outcomes: [{actual: 1, predicted: 0}]}",
        "6  evaluation.outcomes[0].gain: is missing; expected a number (Negative for a cost)",
    ),
    (
        "evaluation: {error_cost: {too_low: 1, too_high: 1}}",
        "6  evaluation.error_cost: is for regression; use outcomes",
    ),
    (
        "contract: {age: {type: numbr}}",
        "6  contract.age.type: 'numbr' is not allowed; did you mean 'number'? Allowed: number, ",
    ),
    ("contract: {age: {minimum: 5, maximum: 1}}", "6  contract.age: minimum 5 is above maximum 1"),
    ('contract: {"a b.c": {unit: 3}}', '6  contract."a b.c".unit: 3 is not allowed; expected text'),
    (
        "contract: {age: {categories: []}}",
        "6  contract.age.categories: [] is not allowed; expected a list that is not empty",
    ),
    (
        "gate: {thresholds: {acuracy: 0.9}}",
        "6  gate.thresholds.acuracy: unknown metric 'acuracy'; did you mean 'accuracy'?",
    ),
    ("gate: {thresholds: {accuracy: 90}}", "6  gate.thresholds.accuracy: 90 is no value that"),
    (
        "gate:\n  slices:\n    - {metric: f1, floor: 0.5}\n    - {metric: f1, flor: 0.5}",
        "9  gate.slices[1].flor: unknown key (value 0.5); did you mean 'floor'?",
    ),
    ("gate: {champion: {mode: beter}}", "6  gate.champion.mode: 'beter' is not allowed; did you "),
    ("gate: {baseline: yes}", "6  gate.baseline: 'yes' is not allowed; expected a mapping with"),
    ("gate: {baseline: null, champion: null}", "6  gate: there is no rule"),
    ("description: ${HOME}", "6  description: refers to the environment; only sources, outputs"),
    ("name: other", "1  name: written twice, in lines 1 and 6; keep one of the two"),
    ("? [a]\n: 1", "shop.yaml  the key in line 6 is a list or a mapping; use text"),
    ("gate: !!set {a}", "6  gate: the tag !!set has no meaning here"),
    ("split: {folds: !!int many}", "6  split.folds: 'many' is not what its tag or its length"),
]

WHOLE = [
    ("name: x\ntask: clasification\ndata: {source: a.csv, target: y}", "did you mean 'classific"),
    ("name: x\ndata: {source: a.csv, target: y}", "task: is missing; expected one of classificat"),
    ("name: x\ntask: regression", "data: is missing; expected a mapping with the keys source, ta"),
    ("name: My Shop\ntask: regression\ndata: {source: a.csv, target: y}", "1  name: 'My Shop' is"),
    (NO_DATA + "data: {source: a.csv}", "3  data.target: is missing; expected text that is not e"),
    (
        NO_DATA + "data: {source: a.csv, taget: y}",
        "3  data.taget: unknown key (value 'y'); did you mean 'target'? Allowed: expires_after",
    ),
    (
        NO_DATA + "data: {source: a.csv, target: 2020}",
        "3  data.target: 2020 is not allowed; expected text that is not empty; put it in quotes",
    ),
    (
        NO_DATA + "data: {source: a.csv, target: y, timestamp: y}",
        "3  data: target 'y' also has another role",
    ),
    (
        NO_DATA + "data: {source: a.csv, target: y, expires_after: 90d}",
        "3  data: expires_after needs data.timestamp",
    ),
    (NO_DATA + "data: {source: a.cvs, target: y}", "3  data.source: 'a.cvs' names no known source"),
    (
        NO_DATA + "data: {source: sklearn:wines, target: y}",
        "3  data.source: 'wines' is not allowed; did you mean 'wine'? Allowed: wine, iris, ",
    ),
    (
        NO_DATA + "data:\n  target: y\n  source: {type: cvs, path: a}",
        "5  data.source.type: 'cvs' is not allowed; did you mean 'csv'? Allowed: sklearn, csv, ",
    ),
    (
        NO_DATA + "data: {target: y, source: {path: a.csv}}",
        "3  data.source.type: is missing; allowed: sklearn, csv, parquet, sql, http",
    ),
    (
        NO_DATA + "data:\n  target: y\n  source:\n    type: csv\n    path: a\n    delimeter: ','",
        "8  data.source.delimeter: unknown key (value ','); did you mean 'delimiter'? Allowed: d",
    ),
    (
        NO_DATA + "data: {target: y, source: {type: csv, path: a, delimiter: ', '}}",
        "3  data.source.delimiter: ', ' is not allowed; expected one character",
    ),
    (
        NO_DATA + "data: {target: y, source: {type: sql, url: 'sqlite:///a.db'}}",
        "3  data.source: needs either a table or a query",
    ),
    (
        NO_DATA + "data: {target: y, source: {type: http, url: 'ftp://a'}}",
        "3  data.source.url: 'ftp://a' is not allowed; expected text that matches ^https?://",
    ),
    (
        NO_DATA + "data: {target: y, source: {type: http, url: 'http://a', "
        "pagination: {style: pages}}}",
        "3  data.source.pagination.style: 'pages' is not allowed; did you mean 'page'? Allowed: ",
    ),
    (
        NO_DATA + "data: {target: y, source: {type: http, url: 'http://a', "
        "pagination: {style: cursor, parm: x}}}",
        "3  data.source.pagination.parm: unknown key (value 'x'); did you mean 'param'?",
    ),
    ("- a\n- b", ': the top level is ["a", "b"]; expected a mapping with at least task and data'),
    ("just words", ": the top level is 'just words'; expected a mapping"),
    ("", ": the file is empty. A use case needs at least task and data"),
    ("# only a comment\n", ": the file is empty"),
    ("name: a\n\ttask: b", "not YAML: "),
    ("a: [1, 2", ":1, column 9: not YAML: while parsing a flow sequence"),
    ("a: b: c", ":1, column 5: not YAML: mapping values are not allowed here; put quotes around"),
    ("a: @b", ":1, column 4: not YAML: "),
    ("a: *b", ":1, column 4: not YAML: found undefined alias"),
    ("a: 1\n---\nb: 2", ":2, column 1: not YAML: "),
    ("a: 1\nb: \x07", ":2: not YAML: an unprintable character (code 0x7)"),
    ("a: &x [*x]", ": too large for a use case"),
    ("[" * 1500, ": nested too deeply"),
    (
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in pairwise("abcdefg")),
        ": too large for a use case",
    ),
]


def message(folder, text: str, *overrides: str) -> str:
    """Return what is said of a file's content, without the folder."""
    file = folder / "shop.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_use_case(file, overrides)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(("text", "expected"), AFTER_HEAD)
def test_names_the_mistake_below_a_good_head(tmp_path, text, expected):
    found = message(tmp_path, HEAD + text)
    assert expected in found
    assert found.startswith("shop.yaml")
    assert "\n" not in found, "one mistake, one line"
    assert_no_jargon(found)


@pytest.mark.parametrize(("text", "expected"), WHOLE)
def test_names_the_mistake_of_a_whole_file(tmp_path, text, expected):
    found = message(tmp_path, text)
    assert expected in found
    assert_no_jargon(found)


def assert_no_jargon(text: str) -> None:
    for word in (
        "tagged-union",
        "Input should be",
        "function-",
        "pydantic",
        "[type=",
        "Value error",
    ):
        assert word not in text


def test_all_mistakes_come_together_in_the_order_of_the_file(tmp_path):
    found = message(
        tmp_path,
        HEAD + "gate: {approval: maybe}\nsplit: {folds: 1, method: tme}\ntraining: {trails: 5}",
    ).splitlines()
    assert found[0] == "shop.yaml has 4 mistakes:"
    places = [re.match(r"  shop\.yaml:(\d+)  (\S+): ", line).groups() for line in found[1:]]
    assert places == [
        ("6", "gate.approval"),
        ("7", "split.folds"),
        ("7", "split.method"),
        ("8", "training.trails"),
    ]


def test_a_long_list_is_cut(tmp_path):
    found = message(tmp_path, HEAD + "\n".join(f"key_{i}: 1" for i in range(25))).splitlines()
    assert len(found) == 12
    assert found[-1] == "  … and 15 more"


def test_passwords_are_not_shown(tmp_path):
    source = "data: {target: y, source: 'postgresql://me:geheim@db/x'}"
    found = message(tmp_path, NO_DATA + source)
    assert "geheim" not in found
    assert "'postgresql://***@db/x' is no file; a database needs a mapping" in found

    headers = "data: {target: y, source: {type: http, url: 'http://a', headers: {key: 4711}}}"
    found = message(tmp_path, NO_DATA + headers)
    assert "4711" not in found
    assert "data.source.headers.key: (hidden) is not allowed; expected text" in found


def test_a_file_name_that_is_no_name(tmp_path):
    file = tmp_path / "My Shop-2.yaml"
    file.write_text("task: regression\ndata: {source: a.csv, target: y}")
    with pytest.raises(InputError, match=r"name: is missing, and .* such as 'name: my_shop_2'"):
        load_use_case(file)


class TestUnreadableFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(InputError) as caught:
            load_use_case(tmp_path / "wien.yaml")
        assert "wien.yaml: there is no such use case file; did you mean " in str(caught.value)
        assert re.search(r"did you mean \S*wine\.yaml\?", str(caught.value))
        assert "iris.yaml" in str(caught.value)

    def test_folder(self, tmp_path):
        with pytest.raises(InputError, match="is a folder; expected a use case file"):
            load_use_case(tmp_path)

    def test_not_utf_8(self, tmp_path):
        file = tmp_path / "shop.yaml"
        file.write_bytes("name: a\ntask: Wörter".encode("latin-1"))
        with pytest.raises(InputError, match=r"shop.yaml:2: not UTF-8 text \(byte 0xf6\); save"):
            load_use_case(file)

    def test_utf_16(self, tmp_path):
        file = tmp_path / "shop.yaml"
        file.write_bytes("name: a".encode("utf-16"))
        with pytest.raises(InputError, match="not UTF-8"):
            load_use_case(file)

    def test_larger_than_any_use_case(self, tmp_path):
        file = tmp_path / "shop.yaml"
        file.write_bytes(b"# " + b"x" * 2**20)
        with pytest.raises(InputError, match="larger than 1 MiB"):
            load_use_case(file)

    def test_unknown_user(self):
        with pytest.raises(InputError, match="there is no such use case file"):
            load_use_case("~nobody-of-that-name/shop.yaml")
