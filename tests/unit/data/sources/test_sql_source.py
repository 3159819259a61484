"""SQL on SQLite: tables, queries, and everything that can be wrong with them."""

from __future__ import annotations

import sqlite3
import threading

import pandas as pd
import pytest

from evergreen.data.source_config import SqlSource
from evergreen.data.sources import describe_source, read_source
from evergreen.errors import InputError, UnreachableError


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY DESC, "net price" REAL, customer TEXT);
            INSERT INTO orders VALUES (3, 1.5, 'ann'), (1, NULL, 'bob'), (2, 7, NULL);
            CREATE TABLE empty (a INTEGER);
            CREATE VIEW big AS SELECT * FROM orders WHERE "net price" > 2;
            """
        )
    connection.close()
    return path


def _read(database, **settings):
    return read_source(SqlSource(url=f"sqlite:///{database}", **settings), environ={})


def test_a_table_comes_in_the_order_of_its_key(database):
    frame = _read(database, table="orders")
    expected = pd.DataFrame(
        {"id": [1, 2, 3], "net price": [None, 7.0, 1.5], "customer": ["bob", None, "ann"]}
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_views_schemas_and_queries_are_read(database):
    assert _read(database, table="big")["id"].tolist() == [2]
    assert len(_read(database, table="main.orders")) == 3
    query = "SELECT id, '10:30 :x 5%' AS note FROM orders WHERE customer LIKE 'a%' ORDER BY id;\n"
    frame = _read(database, query=query)
    assert frame.to_dict("list") == {"id": [3], "note": ["10:30 :x 5%"]}


def test_many_chunks_make_one_table(database, monkeypatch):
    monkeypatch.setattr("evergreen.data.sources.sql_source.CHUNK_ROWS", 2)
    frame = _read(database, table="orders")
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame.index.equals(pd.RangeIndex(3))


def test_reading_changes_nothing(database):
    with pytest.raises(InputError, match="returns no table; it must be a SELECT"):
        _read(database, query="DELETE FROM orders")
    assert len(_read(database, table="orders")) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "order"}, "there is no table 'order'; did you mean 'orders'"),
        ({"table": "ORDERSS"}, "did you mean 'orders'"),
        ({"table": "shop.orders"}, "there is no table 'shop.orders'; did you mean 'orders'"),
        ({"table": "zzz"}, "there are big, empty, orders"),
        ({"table": "empty"}, "no rows, only columns: a"),
        ({"query": "SELECT * FROM ordrs"}, "query cannot be read: no such table: ordrs"),
        ({"query": "SELCT 1"}, 'query cannot be read: near "SELCT"'),
        ({"query": "SELECT 1 AS a, 2 AS a"}, r"'a' \(columns 1, 2\)"),
        ({"query": "SELECT 1 AS a WHERE 0"}, "no rows"),
    ],
)
def test_mistakes_are_named(database, settings, message):
    with pytest.raises(InputError, match=message):
        _read(database, **settings)


def test_a_missing_file_is_not_created(tmp_path):
    (tmp_path / "shop.db").touch()
    with pytest.raises(
        InputError, match=r"data\.source\.url: .*shopp\.db does not exist.*shop\.db"
    ):
        _read(tmp_path / "shopp.db", table="orders")
    assert not (tmp_path / "shopp.db").exists()
    with pytest.raises(InputError, match="there are no tables at all"):
        _read(tmp_path / "shop.db", table="orders")


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("hello " * 1000)
    with pytest.raises(InputError, match=r"notes\.db.*file is not a database"):
        _read(path, table="orders")


def test_a_locked_database_is_unreachable(database):
    holder = sqlite3.connect(database)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(UnreachableError, match="database is locked"):
            _read(database, table="orders", timeout=0.1)
    finally:
        holder.close()


def _message(url, environ=None, **settings):
    with pytest.raises((InputError, UnreachableError)) as caught:
        read_source(SqlSource(url=url, table="t", **settings), environ=environ or {})
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresqll://u:${PW}@h/d", "knows no database 'postgresqll'; did you mean postgresql?"),
        ("oracle+oracledb://u:${PW}@h/d", "the driver oracledb is not installed"),
        ("sqlite+nothing:////x.db", "knows no database 'sqlite+nothing'"),
        ("no address", "is no database address"),
        ("postgresql://u:${PW}@h:port/d", "is no database address"),
    ],
)
def test_unusable_addresses_are_named_without_the_password(url, message):
    error = _message(url, {"PW": "s3cret-value"})
    assert isinstance(error, InputError)
    assert message in str(error)
    assert "s3cret-value" not in str(error)


def test_nobody_listening_is_unreachable(unused_port):
    error = _message(f"postgresql://u:${{PW}}@127.0.0.1:{unused_port}/d", {"PW": "s3cret-value"})
    assert isinstance(error, UnreachableError)
    assert f"postgresql+psycopg://u:***@127.0.0.1:{unused_port}/d: cannot connect" in str(error)
    assert "s3cret-value" not in str(error)


def test_a_server_that_never_answers_is_given_up(silent_port):
    error = _message(f"postgresql://u:p@127.0.0.1:{silent_port}/d", timeout=2)
    assert isinstance(error, UnreachableError)
    assert "timeout" in str(error)


def test_an_unset_password_is_named():
    error = _message("postgresql://u:${SHOP_PASSWORD}@h/d")
    assert "SHOP_PASSWORD is not set; data.source.url refers to it" in str(error)


def test_the_description_shows_no_secret():
    source = SqlSource(url="postgresql://app:${PW}@db/shop", table="sales.orders")
    assert describe_source(source) == "sql postgresql://app:***@db/shop table sales.orders"
    source = SqlSource(url="postgresql://app:literal@db/shop", query="SELECT *\n FROM t" + "x" * 99)
    assert describe_source(source).startswith(
        "sql postgresql://app:***@db/shop query SELECT * FROM"
    )
    assert len(describe_source(source)) < 120


@pytest.fixture
def unused_port():
    from tests.support.postgres import free_port

    return free_port()


@pytest.fixture
def silent_port():
    """A port whose server takes connections and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_two_threads_read_at_once(database):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(len(_read(database, table="orders"))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3, 3]
