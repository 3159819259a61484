"""Reading good use case files: names, paths, shorthands, overrides."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from evergreen.config import UseCase
from evergreen.errors import InputError
from evergreen.use_case import load_use_case

DATA = "task: classification\ndata: {target: y, source: %s}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "shop.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def source_of(file: Path, *overrides: str):
    return load_use_case(file, overrides).data.source


def test_the_file_name_stands_in_for_the_name(write):
    assert load_use_case(write(DATA % "a.csv")).name == "shop"
    assert load_use_case(write("name: other\n" + DATA % "a.csv")).name == "other"


def test_a_bare_name_means_a_shipped_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_use_case("wine").name == "wine"  # the project's own
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "wine.yaml").write_text("name: mine\n" + DATA % "a.csv")
    assert load_use_case("wine").name == "mine"  # the working directory's own comes first


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("orders.csv", "{folder}/orders.csv"),
        ("../data/orders.csv.gz", "{parent}/data/orders.csv.gz"),
        ("{type: csv, path: sub/orders.csv}", "{folder}/sub/orders.csv"),
        ("'parts/*.parquet'", "{folder}/parts/*.parquet"),
        ("parts/", "{folder}/parts"),
        ("/data/orders.csv", "/data/orders.csv"),
        ("~/orders.csv", "/home/me/orders.csv"),
        ("{type: csv, path: '${DATA}/orders.csv'}", "$(DATA)/orders.csv"),
        ("{type: parquet, path: 's3://bucket/a.parquet'}", "s3://bucket/a.parquet"),
    ],
)
def test_paths_start_at_the_file(write, tmp_path, monkeypatch, written, read):
    monkeypatch.setenv("HOME", "/home/me")
    expected = read.replace("{folder}", str(tmp_path)).replace("{parent}", str(tmp_path.parent))
    assert source_of(write(DATA % written)).path == expected


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("sqlite:///shop.db", "sqlite:///{folder}/shop.db"),
        ("sqlite+pysqlite:///sub/shop.db", "sqlite+pysqlite:///{folder}/sub/shop.db"),
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///${FILE}", "sqlite:///$(FILE)"),
        ("postgresql://me:${PASSWORD}@db/shop", "postgresql://me:$(PASSWORD)@db/shop"),
    ],
)
def test_database_addresses(write, tmp_path, monkeypatch, written, read):
    monkeypatch.setenv("PASSWORD", "geheim")
    source = source_of(write(DATA % f"{{type: sql, table: t, url: '{written}'}}"))
    assert source.url == read.replace("{folder}", str(tmp_path))


def test_addresses_stay(write):
    assert source_of(write(DATA % "https://a.org/x.csv")).url == "https://a.org/x.csv"
    assert source_of(write(DATA % "sklearn:wine")).name == "wine"


def test_yaml_1_2(write):
    use_case = load_use_case(
        write(
            "description: 2024-01-31\n" + DATA % "a.csv" + "quality: {missing: off, nulls: off}\n"
            "contract: {2020: {categories: [yes, no, 2024-01-31, 1, true]}}\n"
            "training: {timeout: 5m, candidates: {xgboost: , random_forest: }}\n"
        )
    )
    assert use_case.description == "2024-01-31"
    assert use_case.quality.missing.severity == "off"
    assert use_case.quality.missing.limit == 0.3, "what is not written keeps its default"
    assert use_case.contract["2020"].categories == ("yes", "no", "2024-01-31", 1, True)
    assert use_case.training.timeout == timedelta(minutes=5)
    assert list(use_case.training.candidates) == ["xgboost", "random_forest"]


def test_anchors_and_a_byte_order_mark(write):
    use_case = load_use_case(
        write(
            "\ufeff"
            + DATA % "a.csv"
            + "contract: {a: &length {unit: mm, minimum: 0}, b: *length}\n"
        )
    )
    assert use_case.contract["a"] == use_case.contract["b"]


def test_survives_json(write):
    use_case = load_use_case("wine", ["data.timestamp=day", "data.expires_after=90d"])
    assert UseCase.model_validate_json(use_case.model_dump_json()) == use_case


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "read"),
        [
            ("training.trials=5", lambda u: u.training.trials == 5),
            (
                "training.candidates=[random_forest]",
                lambda u: "decision_tree" not in u.training.candidates,
            ),
            (
                "training.candidates.decision_tree.params.max_depth=3",  # into a list of names
                lambda u: (
                    u.training.candidates["decision_tree"].params == {"max_depth": 3}
                    and "random_forest" in u.training.candidates
                ),
            ),
            ("quality.missing.limit=0.5", lambda u: u.quality.missing.limit == 0.5),
            ("quality.missing.limit=0.5", lambda u: u.quality.missing.severity == "error"),
            ("quality.missing=off", lambda u: u.quality.missing.severity == "off"),
            ("data.source.delimiter=;", lambda u: u.data.source.delimiter == ";"),
            ("data.source=sklearn:iris", lambda u: u.data.source.name == "iris"),
            ('contract."a.b".unit=mm', lambda u: u.contract["a.b"].unit == "mm"),
            ("contract.'a b/c'.unit=m=1", lambda u: u.contract["a b/c"].unit == "m=1"),
            ("gate.slices[1].floor=0.25", lambda u: u.gate.slices[1].floor == 0.25),
            ("gate.slices.0.floor=0.25", lambda u: u.gate.slices[0].floor == 0.25),
            ("gate.champion=", lambda u: u.gate.champion is None),
            ("gate.champion=null", lambda u: u.gate.champion is None),
            ("split={folds: 3, seed: 1}", lambda u: (u.split.folds, u.split.seed) == (3, 1)),
            ("description='5'", lambda u: u.description == "5"),
        ],
    )
    def test_reach_every_kind_of_key(self, write, override, read):
        file = write(
            DATA % "a.csv" + "quality: {missing: error}\n"
            "training: {candidates: [decision_tree, random_forest]}\n"
            "evaluation: {slices: [x]}\n"
            "gate: {slices: [{metric: f1, floor: 0.5}, {metric: f1, floor: 0.5}]}\n"
        )
        assert read(load_use_case(file, [override]))

    def test_the_last_one_wins(self, write):
        file = write(DATA % "a.csv")
        assert load_use_case(file, ["split.folds=3", "split.folds=4"]).split.folds == 4

    def test_can_make_a_use_case_of_an_empty_file(self, write):
        use_case = load_use_case(
            write(""), ["task=regression", "data={source: /a.csv, target: y}", "split.folds=3"]
        )
        assert (use_case.name, use_case.split.folds) == ("shop", 3)

    def test_paths_start_at_the_working_directory(self, write, tmp_path, monkeypatch):
        file = write(DATA % "a.csv")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert source_of(file, "data.source=b.csv").path == str(tmp_path / "elsewhere" / "b.csv")
        assert source_of(file, "data.source.path=b.csv").path == str(
            tmp_path / "elsewhere" / "b.csv"
        )
        assert source_of(file, "data.source.decimal=','").path == str(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("training.trails=5", "--set  training.trails: unknown key (value 5); did you mean 't"),
            ("training.trials=0", "--set  training.trials: 0 is not allowed; expected a whole num"),
            ("split.method=tim", "--set  split.method: 'tim' is not allowed; did you mean 'time'?"),
            ("gate.thresholds.acc=1", "--set  gate.thresholds.acc: unknown metric 'acc'"),
            ("data.target.x=1", "shop.yaml:2  data.target: is no mapping, so that --set data.targ"),
            ("gate.slices[0].floor=1", "gate.slices: is no list, so that --set gate.slices[0].flo"),
            ("data.ignore[2]=a", "data.ignore: is a list of 1; --set data.ignore[2] needs an ind"),
            ("split.folds=[1", "--set split.folds:1, column 3: not YAML"),
            ("split={a: 1, a: 2}", "--set split:1  a: written twice"),
            ("training.trials", "--set training.trials: expected key.path=value, such as training"),
            ("=5", "--set =5: expected key.path=value"),
            ("", "expected key.path=value"),
            ("a b=5", "--set a b=5: expected key.path=value"),
            ("a..b=5", "--set a..b=5: expected key.path=value"),
        ],
    )
    def test_mistakes(self, write, tmp_path, override, expected):
        file = write("task: classification\ndata: {target: y, source: a.csv, ignore: [b]}\n")
        with pytest.raises(InputError) as caught:
            load_use_case(file, [override])
        assert expected in str(caught.value).replace(f"{tmp_path}/", "")


def test_references_are_kept_in_a_form_that_orchestrators_leave_alone(write):
    text = DATA % "{type: sql, url: 'postgresql://me:${DB_PASSWORD}@db/shop', table: orders}"
    assert source_of(write(text)).url == "postgresql://me:$(DB_PASSWORD)@db/shop"


def test_references_outside_the_source_are_refused(write):
    with pytest.raises(InputError, match=r"only sources, outputs, alerts and serving\.log"):
        load_use_case(write("description: costs ${SECRET}\n" + DATA % "a.csv"))
