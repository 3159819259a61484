"""Sources that do not answer, or only after a while, from the command line."""

from __future__ import annotations

from tests.support.shop import rows, write_config, write_csv
from tests.support.web_server import Reply, serving


def train(home, config, *options, **environment):
    return home.run("--pipeline", "train", "--config", str(config), *options, **environment)


def test_an_unreachable_database(shared_home, tmp_path):
    url = "postgresql+psycopg://user:${SHOP_PASSWORD}@127.0.0.1:9/shop"
    source = f"{{type: sql, url: '{url}', table: sales}}"
    config = write_config(tmp_path, source)
    done = train(shared_home, config, SHOP_PASSWORD="hush-hush")
    done.check(3, "sql postgresql", "127.0.0.1:9", "refused")
    assert "hush-hush" not in done.err
    unset = train(shared_home, config).check(2, "SHOP_PASSWORD")
    assert "environment" in unset.err


def test_a_server_that_fails_twice_and_then_answers(home, tmp_path):
    table = write_csv(tmp_path / "table.csv", rows()).read_bytes()

    def answer(request):
        fails = len(server.requests) <= 2
        return Reply(b"", 500) if fails else Reply(table, content_type="text/csv")

    with serving(answer) as server:
        config = write_config(tmp_path, f"{server.url}/table.csv")
        done = train(home, config, "--set", "gate.baseline=null", "--json")
        done.check(1)  # a gate without any rule says no
        assert done.json["rows"] == len(rows())
        assert len(server.requests) == 3


def test_a_server_that_never_answers_well(shared_home, tmp_path):
    with serving(lambda request: Reply(b"", 500)) as server:
        source = f"{{type: http, url: '{server.url}/table.csv', retries: 1}}"
        train(shared_home, write_config(tmp_path, source)).check(3, server.url, "500", "2 ")
        assert len(server.requests) == 2
