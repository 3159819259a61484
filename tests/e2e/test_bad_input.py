"""Tables and use cases that cannot be used, from the command line: one message, the right code."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.support.shop import blank, constant, rows, write_config, write_csv


def refuse(home, config: Path, code: int, *words: str, overrides: tuple[str, ...] = ()) -> str:
    """Train, and check exit code and message; nothing goes to standard output."""
    options = [part for override in overrides for part in ("--set", override)]
    done = home.run("--pipeline", "train", "--config", str(config), *options).check(code, *words)
    assert done.out == ""
    return done.err


def infinite(table):
    return [
        row | {"size": "inf" if number in (3, 9) else row["size"]}
        for number, row in enumerate(table)
    ]


def third_class(table):
    return [
        row | {"sold": "maybe" if number == 7 else row["sold"]} for number, row in enumerate(table)
    ]


TABLES = {
    "target_constant": (constant("sold", "yes"), ("'sold'", "'yes' in every row", "data.target")),
    "target_half_missing": (blank("sold", 2), ("'sold'", "30 rows (50", "target_missing.limit")),
    "one_class_with_one_row": (third_class, ("'maybe'", "'sold'", "only 1 row", "merge it")),
    "all_missing_column": (constant("weight", ""), ("'weight'", "no value", "data.ignore")),
    "infinities": (infinite, ("'size'", "2 infinite numbers", "rows 3, 9", "Mend the source")),
    "one_row": (lambda table: table[:1], ("only 1 row", "at least 20", "minimum_rows.limit")),
}


SHORT = ("target_constant", "infinities")
CASES = [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in TABLES]


@pytest.mark.parametrize("case", CASES)
def test_a_table_that_fails_a_check(case, shared_home, tmp_path):
    change, words = TABLES[case]
    write_csv(tmp_path / "table.csv", rows(change))
    message = refuse(shared_home, write_config(tmp_path), 1, *words)
    report = Path(re.search(r"^Data report: (.+)$", message, re.MULTILINE)[1])
    assert words[0].strip("'") in report.read_text(encoding="utf-8")


def test_the_second_refusal_of_a_table_has_its_report_too(shared_home, tmp_path):
    write_csv(tmp_path / "table.csv", rows(constant("kind", "")))
    config = write_config(tmp_path)
    reports = [refuse(shared_home, config, 1, "'kind'").splitlines()[-1] for _ in range(2)]
    assert reports[0] != reports[1]
    for line in reports:
        assert Path(line.removeprefix("Data report: ")).is_file()


def test_a_target_that_is_no_column(shared_home, tmp_path):
    table = [{"size": row["size"], "solt": row["sold"]} for row in rows()]
    write_csv(tmp_path / "table.csv", table)
    refuse(shared_home, write_config(tmp_path), 2, "data.target", "'sold'", "Did you mean 'solt'")


def test_a_missing_file(shared_home, tmp_path):
    write_csv(tmp_path / "tables.csv", rows())
    words = ("data.source.path", "table.csv does not exist", "tables.csv")
    refuse(shared_home, write_config(tmp_path), 2, *words)


def test_an_empty_file(shared_home, tmp_path):
    (tmp_path / "table.csv").write_text("")
    refuse(shared_home, write_config(tmp_path), 2, "table.csv", "empty")


def test_a_header_without_rows(shared_home, tmp_path):
    write_csv(tmp_path / "table.csv", [])
    refuse(shared_home, write_config(tmp_path), 2, "table.csv", "row")


def test_a_wrong_delimiter(shared_home, tmp_path):
    write_csv(tmp_path / "table.csv", rows(), delimiter=";")
    source = "{type: csv, path: table.csv, delimiter: '|'}"
    refuse(shared_home, write_config(tmp_path, source), 2, "table.csv", "delimiter", "';'")


def test_two_columns_of_one_name(shared_home, tmp_path):
    path = write_csv(tmp_path / "table.csv", rows())
    path.write_text(path.read_text().replace("weight", "size"))
    refuse(shared_home, write_config(tmp_path), 2, "table.csv", "'size'")


def test_a_truncated_gzip(shared_home, tmp_path):
    plain = write_csv(tmp_path / "plain.csv", rows()).read_bytes()
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(plain)[:-40])
    refuse(shared_home, write_config(tmp_path, "table.csv.gz"), 2, "table.csv.gz")


def test_an_expired_table(shared_home, tmp_path):
    table = [row | {"day": f"2020-01-{1 + i % 28:02d}"} for i, row in enumerate(rows())]
    write_csv(tmp_path / "table.csv", table)
    overrides = ("data.timestamp=day", "data.expires_after=90d")
    words = ("'day'", "2020-01-28", "90 days", "Data report: ")
    refuse(shared_home, write_config(tmp_path), 1, *words, overrides=overrides)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.trails=5", ("training.trails", "trials")),
        ("training.trials=many", ("training.trials", "many", "whole number")),
        ("training.candidates=[xgbost]", ("xgbost", "did you mean 'xgboost'")),
        ("split.folds=-3", ("split.folds", "-3", "at least 2")),
    ],
)
def test_a_key_that_cannot_be(override, words, shared_home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    refuse(shared_home, write_config(tmp_path), 2, *words, overrides=(override,))


def test_more_folds_than_rows(shared_home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    words = ("split.folds", "500", "48 training rows")
    refuse(shared_home, write_config(tmp_path), 2, *words, overrides=("split.folds=500",))


def test_a_use_case_that_is_no_file(shared_home):
    refuse(shared_home, Path("configs/irs.yaml"), 2, "configs/irs.yaml", "iris.yaml")


def test_a_good_table_passes(home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    config = write_config(tmp_path, more="gate: {baseline: null, thresholds: {accuracy: 0.1}}\n")
    done = home.run("--pipeline", "train", "--config", str(config), "--json").check()
    assert (done.json["use_case"], done.json["status"]) == ("shop", "promoted")
