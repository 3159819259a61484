"""Where a model is, in one address."""

from __future__ import annotations

import shutil

import pytest

from evergreen import object_stores
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from evergreen.serving.model_address import fetch_bundle, find_bundle, options_for
from evergreen.serving.settings import ServingConfig
from tests.support.models import write_small_bundle

SETTINGS = ServingConfig()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "small bundle"
    return write_small_bundle(folder).folder


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("models:/wine@champion", ("wine", "champion", None)),
        ("models:/wine@challenger", ("wine", "challenger", None)),
        ("models:/wine/3", ("wine", "champion", "3")),
    ],
)
def test_registered_models_are_named_as_mlflow_names_them(tmp_path, address, expected):
    options = options_for(address, SETTINGS, Home(tmp_path))
    assert (options.model, options.alias, options.version) == expected
    assert options.bundle is None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("models:/wine", "models:/NAME@ALIAS"),
        ("models:/wine/latest", "models:/NAME@ALIAS"),
        ("models:wine@champion", "models:/NAME@ALIAS"),
        ("ftp://host/bundle", "no address of a model"),
        ("/not/there", "no bundle folder"),
        ("file:///not/there", "no bundle folder"),
    ],
)
def test_what_is_no_address_is_said(tmp_path, address, said):
    with pytest.raises(InputError, match=said):
        options_for(address, SETTINGS, Home(tmp_path))


def test_a_folder_is_used_where_it_is(tmp_path, bundle):
    for address in (str(bundle), bundle.as_uri()):
        options = options_for(address, SETTINGS, Home(tmp_path))
        found = find_bundle(options)
        assert found.bundle.folder == bundle
        assert found.version is None
    assert not list(tmp_path.iterdir())


# pyarrow reads object stores and folders by the same calls; a folder needs no server.


def test_a_store_s_bundle_is_fetched_whole_and_anew(tmp_path, bundle):
    store = tmp_path / "store"
    shutil.copytree(bundle, store)
    fetched = fetch_bundle(store.as_uri(), tmp_path / "cache")
    again = fetch_bundle(store.as_uri(), tmp_path / "cache")
    assert fetched == again
    assert (fetched / "manifest.json").read_bytes() == (store / "manifest.json").read_bytes()
    assert [path.name for path in fetched.parent.iterdir()] == [fetched.name]


def test_a_damaged_bundle_is_not_kept_and_the_former_stays(tmp_path, bundle):
    store = tmp_path / "store"
    shutil.copytree(bundle, store)
    fetched = fetch_bundle(store.as_uri(), tmp_path / "cache")
    (store / "contract.json").write_text("{}")
    with pytest.raises(InputError, match=r"store is damaged: contract\.json"):
        fetch_bundle(store.as_uri(), tmp_path / "cache")
    assert (fetched / "contract.json").read_text() != "{}"
    assert [path.name for path in fetched.parent.iterdir()] == [fetched.name]


def test_a_store_without_the_bundle_or_without_a_server_is_said(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="nothing at"):
        fetch_bundle((tmp_path / "nowhere").as_uri(), tmp_path / "cache")
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnreachableError, match="s3://bucket/bundle"):
        options_for("s3://bucket/bundle", SETTINGS, Home(tmp_path))


def test_every_remote_scheme_is_one_that_pyarrow_knows():
    from pyarrow import fs

    for scheme in object_stores.SCHEMES:
        try:
            fs.FileSystem.from_uri(f"{scheme}://account/place")
        except Exception as error:
            assert "Unrecognized filesystem type" not in str(error)
