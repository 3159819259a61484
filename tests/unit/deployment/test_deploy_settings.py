"""The section ``deploy`` of a use case."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from evergreen.deployment.settings import DeployConfig


def test_ports_differ():
    assert DeployConfig(port=9000, mlflow_ports=(9001, 9002)).port == 9000
    with pytest.raises(ValidationError, match="three different ports"):
        DeployConfig(port=8001)


@pytest.mark.parametrize("port", [0, 65536, "many"])
def test_a_port_is_one(port):
    with pytest.raises(ValidationError):
        DeployConfig(port=port)
