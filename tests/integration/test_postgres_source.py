"""SQL on a real PostgreSQL server: types, schemas, streaming and refusals."""

from __future__ import annotations

import logging

import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.data.dataset import Dataset
from evergreen.data.source_config import SqlSource
from evergreen.data.sources import read_source
from evergreen.errors import InputError, UnreachableError

SCHEMA = """
    CREATE SCHEMA sales;
    CREATE TABLE sales.orders (
        id integer PRIMARY KEY, price numeric(8, 2), paid boolean, placed timestamptz,
        due date, note text, tags jsonb, token uuid, "Odd / Name" double precision
    );
    INSERT INTO sales.orders VALUES
        (2, 1.25, true, '2024-01-01 10:00+00', '2024-02-29', 'a%b', '{"k": 1}', NULL, 'Infinity'),
        (1, NULL, NULL, '2024-07-01 10:00+02', NULL, NULL, NULL,
         '00000000-0000-0000-0000-000000000001', 'NaN');
    CREATE TABLE many AS SELECT n, n % 7 AS week FROM generate_series(1, 120000) AS n;
    CREATE ROLE reader LOGIN PASSWORD 'p@ss/w:rd%41';
    GRANT SELECT ON many TO reader;
"""
READER_PASSWORD = "p@ss/w:rd%41"


@pytest.fixture(scope="module")
def shop(postgres):
    """A server whose database holds two tables and a role with an awkward password."""
    engine = sa.create_engine(postgres.url)
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(SCHEMA)
    engine.dispose()
    return postgres


def _source(server, user="${DB_USER}", **settings):
    url = f"postgresql://{user}:${{DB_PASSWORD}}@{server.host}:{server.port}/postgres"
    return SqlSource(url=url, **settings)


def _read(server, **settings):
    environ = {"DB_USER": server.user, "DB_PASSWORD": server.password}
    return read_source(_source(server, **settings), environ=environ)


def test_every_kind_of_column_becomes_plain(shop, tmp_path):
    frame = _read(shop, table="sales.orders")
    assert frame["id"].tolist() == [1, 2]
    kinds = frame.dtypes.astype(str).to_dict()
    assert kinds["price"] == kinds["Odd / Name"] == "float64"
    assert kinds["paid"] == "object"
    assert kinds["note"] == kinds["tags"] == kinds["token"] == "str"
    assert kinds["due"].startswith("datetime64")
    assert frame["placed"].dt.tz_convert("UTC").dt.hour.tolist() == [8, 10]
    assert frame["tags"][1] == '{"k": 1}'
    assert frame["Odd / Name"][1] == float("inf")
    pd.testing.assert_frame_equal(Dataset.write(frame, tmp_path / "t.parquet").read(), frame)


def test_many_rows_are_streamed_into_one_table(shop):
    frame = _read(shop, table="many")
    assert len(frame) == frame["n"].nunique() == 120_000
    assert (frame.dtypes == "int64").all()


def test_a_query_may_hold_colons_and_percent_signs(shop):
    query = "WITH t AS (SELECT note, '1'::int AS one FROM sales.orders WHERE note LIKE 'a%b') "
    assert _read(shop, query=query + "SELECT * FROM t;").to_dict("list") == {
        "note": ["a%b"],
        "one": [1],
    }


def test_a_query_cannot_change_the_table(shop):
    with pytest.raises(InputError, match=r"data\.source\.query cannot be read"):
        _read(shop, query="DELETE FROM many RETURNING n")
    assert len(_read(shop, table="many")) == 120_000


def test_an_awkward_password_needs_no_encoding(shop):
    source = _source(shop, user="reader", table="many")
    assert len(read_source(source, environ={"DB_PASSWORD": READER_PASSWORD})) == 120_000


def test_a_wrong_password_is_unreachable_and_never_shown(shop, caplog):
    caplog.set_level(logging.DEBUG)
    source = _source(shop, user="reader", table="many")
    with pytest.raises(UnreachableError) as caught:
        read_source(source, environ={"DB_PASSWORD": "wr0ng-value"})
    text = str(caught.value)
    assert "password authentication failed" in text
    assert "check user and password" in text
    assert f"postgresql+psycopg://reader:***@127.0.0.1:{shop.port}/postgres" in text
    assert "wr0ng-value" not in text + caplog.text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "orders"}, r"no table 'orders'; did you mean 'sales\.orders'"),
        ({"table": "sales.order"}, r"did you mean 'sales\.orders'"),
        ({"table": "mani"}, "did you mean 'many'"),
        ({"query": "SELECT * FROM ordrs"}, 'relation "ordrs" does not exist'),
        ({"query": "SELCT 1"}, "syntax error"),
    ],
)
def test_mistakes_are_bad_input(shop, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        _read(shop, **settings)
    assert shop.password not in str(caught.value)


def test_a_table_that_may_not_be_read_is_named(shop):
    source = _source(shop, user="reader", query="SELECT * FROM sales.orders")
    with pytest.raises(InputError, match="permission denied"):
        read_source(source, environ={"DB_PASSWORD": READER_PASSWORD})


def test_a_database_that_does_not_exist_is_unreachable(shop):
    url = f"postgresql://{shop.user}:${{PW}}@{shop.host}:{shop.port}/nowhere"
    with pytest.raises(UnreachableError, match='database "nowhere" does not exist'):
        read_source(SqlSource(url=url, table="t"), environ={"PW": shop.password})


def test_a_connection_that_is_cut_while_reading_is_unreachable(shop):
    query = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(UnreachableError, match="went away"):
        _read(shop, query=query)
