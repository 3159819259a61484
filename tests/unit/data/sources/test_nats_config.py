"""How a stream of NATS is named in a use case, and what is shown of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from evergreen.data.source_config import NatsSource, source_from_shorthand
from evergreen.data.sources import describe_source, read_source
from evergreen.errors import InputError
from evergreen.use_case.load import load_use_case

HEAD = "task: regression\n"


def test_an_address_is_a_shorthand():
    for address in ("nats://broker:4222/ORDERS", "tls://${USER}:${PW}@broker/ORDERS"):
        source = TypeAdapter(NatsSource).validate_python(source_from_shorthand(address))
        assert source.url == address.replace("${", "$(").replace("}", ")")
        assert source.batch_rows == 10_000


@pytest.mark.parametrize(
    "url",
    [
        *("nats://broker:4222", "nats://broker:4222/", "nats:///ORDERS", "http://broker/ORDERS"),
        *("nats://broker/orders.new", "nats://broker/a/b", "nats://broker/$(STREAM)"),
    ],
)
def test_an_address_names_a_server_and_a_stream(url):
    with pytest.raises(ValidationError, match="url"):
        NatsSource(url=url)


@pytest.mark.parametrize("name", ["", "../other", "a/b", "a b"])
def test_a_name_is_one_of_a_folder(name):
    with pytest.raises(ValidationError, match="name"):
        NatsSource(url="nats://broker/ORDERS", name=name)


def test_rows_are_kept_under_the_name_of_the_use_case(tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(
        HEAD + "data: {source: 'nats://broker/ORDERS', target: y}\n"
        "batch: {source: {type: nats, url: 'nats://broker/NEW', name: mine}}\n"
        "monitoring: {source: 'tls://broker/ORDERS'}\n"
    )
    use_case = load_use_case(file)
    assert use_case.data.source.name == "shop"
    assert use_case.batch.source.name == "mine"
    assert use_case.monitoring.source.name == "shop-monitoring"


@pytest.mark.parametrize("written", ["user:s3cret@", "s3cret@"])
def test_credentials_written_out_are_not_shown(written):
    source = NatsSource(url=f"nats://{written}broker/ORDERS", subject="orders.eu")
    assert "s3cret" not in describe_source(source)
    assert describe_source(source).endswith("@broker/ORDERS subject orders.eu")


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(InputError, match=r"NATS_PW is not set; data\.source\.url refers to it"):
        read_source(NatsSource(url="nats://user:${NATS_PW}@broker/ORDERS"), environ={})


def test_the_client_is_imported_where_it_is_used_only():
    code = "import sys, evergreen.data.size, evergreen.data.ingest; print('nats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
