"""Bad input, as a user meets it: one clear message, the right exit code, no stack trace."""

from __future__ import annotations

import gzip
import http.server
import math
import threading
from pathlib import Path

import pytest

ROWS = 60


def rows(change=None) -> list[dict[str, object]]:
    """A small table that trains; ``change`` edits it."""
    table: list[dict[str, object]] = [
        {
            "size": round(10 + math.sin(i) * 3 + i / 10, 3),
            "weight": round(5 + math.cos(i * 1.7) * 2, 3),
            "kind": "abc"[i % 3],
            "sold": "yes" if math.sin(i) + math.cos(i * 1.7) > 0 else "no",
        }
        for i in range(ROWS)
    ]
    return table if change is None else change(table)


def write_csv(path: Path, table: list[dict[str, object]], delimiter: str = ",") -> Path:
    header = list(table[0]) if table else ["size", "weight", "kind", "sold"]
    lines = [delimiter.join(header)]
    lines += [delimiter.join(str(row[name]) for name in header) for row in table]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_config(folder: Path, source: str = "table.csv", extra: str = "") -> Path:
    path = folder / "shop.yaml"
    path.write_text(
        f"""\
name: shop
task: classification
data:
  source: {source}
  target: sold
training:
  candidates: [decision_tree]
  trials: 1
{extra}""",
        encoding="utf-8",
    )
    return path


def refuse(home, config: Path, code: int, *words: str, overrides: tuple[str, ...] = ()) -> str:
    """Train, and check exit code and message."""
    options = [part for override in overrides for part in ("--set", override)]
    done = home.run("--pipeline", "train", "--config", str(config), *options).check(code)
    for word in words:
        assert word in done.err, done.err
    return done.err


def blank(column: str, every: int):
    def change(table):
        return [
            row | {column: ""} if number % every == 0 else row for number, row in enumerate(table)
        ]

    return change


def constant(column: str, value: object):
    return lambda table: [row | {column: value} for row in table]


TABLES = {
    "target_missing": (
        lambda table: [{k: v for k, v in row.items() if k != "sold"} for row in table],
        2,
        ("sold",),
    ),
    "target_constant": (constant("sold", "yes"), 1, ("sold",)),
    "target_half_missing": (blank("sold", 2), 1, ("sold", "50")),
    "one_class_with_one_row": (
        lambda table: [
            row | {"sold": "maybe" if i == 7 else row["sold"]} for i, row in enumerate(table)
        ],
        1,
        ("sold", "maybe"),
    ),
    "all_missing_column": (constant("weight", ""), 1, ("weight",)),
    "infinities": (
        lambda table: [
            row | {"size": "inf" if i in (3, 9) else row["size"]} for i, row in enumerate(table)
        ],
        1,
        ("size", "infinit"),
    ),
    "one_row": (lambda table: table[:1], 1, ("row",)),
}


@pytest.mark.parametrize("case", TABLES)
def test_bad_table(case, home, tmp_path):
    change, code, words = TABLES[case]
    write_csv(tmp_path / "table.csv", rows(change))
    refuse(home, write_config(tmp_path), code, *words)


def test_quality_report_is_written_when_the_check_stops_the_run(home, tmp_path):
    write_csv(tmp_path / "table.csv", rows(constant("weight", "")))
    message = refuse(home, write_config(tmp_path), 1, "weight")
    pages = list(home.state.glob("reports/shop/*/data.html"))
    assert len(pages) == 1
    assert "weight" in pages[0].read_text(encoding="utf-8")
    assert str(pages[0]) in message


def test_a_good_table_passes(home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    done = home.run("--pipeline", "train", "--config", str(write_config(tmp_path)), "--json")
    assert done.code in (0, 1), done.err
    assert done.json["use_case"] == "shop"


def test_missing_file(home, tmp_path):
    write_csv(tmp_path / "tables.csv", rows())
    refuse(home, write_config(tmp_path), 2, "table.csv", "tables.csv")


def test_empty_file(home, tmp_path):
    (tmp_path / "table.csv").write_text("")
    refuse(home, write_config(tmp_path), 2, "table.csv", "empty")


def test_header_only(home, tmp_path):
    write_csv(tmp_path / "table.csv", [])
    refuse(home, write_config(tmp_path), 2, "table.csv")


def test_wrong_delimiter(home, tmp_path):
    write_csv(tmp_path / "table.csv", rows(), delimiter=";")
    source = "{type: csv, path: table.csv, delimiter: '|'}"
    refuse(home, write_config(tmp_path, source), 2, "delimiter")


def test_duplicate_column_names(home, tmp_path):
    lines = write_csv(tmp_path / "table.csv", rows()).read_text().replace("weight", "size")
    (tmp_path / "table.csv").write_text(lines)
    refuse(home, write_config(tmp_path), 2, "size")


def test_truncated_gzip(home, tmp_path):
    plain = write_csv(tmp_path / "plain.csv", rows()).read_bytes()
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(plain)[:-40])
    refuse(home, write_config(tmp_path, "table.csv.gz"), 2, "table.csv.gz")


def test_unreachable_database(home, tmp_path):
    url = "postgresql+psycopg://user:hush@127.0.0.1:9/shop"
    source = f"{{type: sql, url: '{url}', table: sales, timeout: 2}}"
    message = refuse(home, write_config(tmp_path, source), 3, "127.0.0.1")
    assert "hush" not in message


def test_expired_table(home, tmp_path):
    table = [row | {"day": f"2020-01-{1 + i % 28:02d}"} for i, row in enumerate(rows())]
    write_csv(tmp_path / "table.csv", table)
    config = write_config(tmp_path)
    overrides = ("data.timestamp=day", "data.expires_after=90d")
    refuse(home, config, 1, "day", "90", overrides=overrides)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.trails=5", ("training.trails", "trials")),
        ("training.trials=many", ("training.trials", "many")),
        ("training.candidates=[xgbost]", ("xgbost", "xgboost")),
        ("split.folds=-3", ("split.folds", "-3")),
    ],
)
def test_bad_key(override, words, home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    refuse(home, write_config(tmp_path), 2, *words, overrides=(override,))


def test_more_folds_than_rows(home, tmp_path):
    write_csv(tmp_path / "table.csv", rows())
    refuse(home, write_config(tmp_path), 2, "fold", overrides=("split.folds=500",))


class Server:
    """A web server that fails as often as it is told to before it answers."""

    def __init__(self, body: bytes, failures: int) -> None:
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                fails = outer.requests <= failures
                self.send_response(500 if fails else 200)
                self.send_header("Content-Type", "text/csv")
                self.end_headers()
                self.wfile.write(b"" if fails else body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/table.csv"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_http_500_then_success(home, tmp_path):
    server = Server(write_csv(tmp_path / "table.csv", rows()).read_bytes(), failures=2)
    try:
        config = write_config(tmp_path, server.url)
        done = home.run("--pipeline", "train", "--config", str(config), "--json")
    finally:
        server.close()
    assert done.code in (0, 1), done.err
    assert server.requests == 3


def test_http_never(home, tmp_path):
    server = Server(b"", failures=10**6)
    source = f"{{type: http, url: '{server.url}', retries: 1}}"
    try:
        refuse(home, write_config(tmp_path, source), 3, server.url, "500")
    finally:
        server.close()
    assert server.requests == 2
