"""Two Dask workers that are started anew when they fall."""

from __future__ import annotations

import pytest

from evergreen.dask.settings import DaskConfig
from tests.support.dask_cluster import dask_cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), "one", "two", nanny=True) as running:
        yield running


@pytest.fixture
def config(cluster):
    return DaskConfig(scheduler=cluster.address)
