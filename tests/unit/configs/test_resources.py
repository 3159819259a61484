"""The section `resources`: what becomes of it in a pod's settings, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from evergreen.resources import ResourcesConfig, StepResources


def test_what_is_set_becomes_requests_limits_and_places():
    step = StepResources.model_validate(
        {
            "cpu": 0.5,
            "memory": "1Gi",
            "memory_limit": "2048Mi",
            "gpu": 1,
            "node_selector": {"pool": "training"},
            "tolerations": [{"key": "training", "operator": "Exists"}],
        }
    )
    assert step.pod_settings() == {
        "resources": {
            "requests": {"cpu": "0.5", "memory": "1Gi"},
            "limits": {"memory": "2048Mi", "nvidia.com/gpu": "1"},
        },
        "node_selectors": {"pool": "training"},
        "tolerations": [{"key": "training", "operator": "Exists"}],
    }
    assert StepResources().pod_settings() == {}


def test_a_step_has_its_own_on_top_of_the_default():
    resources = ResourcesConfig.model_validate(
        {"default": {"cpu": 1, "memory": "1Gi"}, "steps": {"score_table": {"cpu": 4}}}
    )
    assert resources.of("score_table") == StepResources(cpu=4, memory="1Gi")
    assert resources.of("load_table") == resources.default


@pytest.mark.parametrize(
    "content",
    [
        {"default": {"memory": "2 gigabytes"}},
        {"default": {"memory": "0Gi"}},
        {"default": {"memory": "3Gi", "memory_limit": "2048Mi"}},
        {"default": {"cpu": 2, "cpu_limit": 1}},
        {"default": {"gpu": -1}},
        {"default": {"memory": "4Gi"}, "steps": {"score_table": {"memory_limit": "2Gi"}}},
        {"steps": {"serch_candidates": {"cpu": 1}}},
    ],
)
def test_what_cannot_be_is_refused(content):
    with pytest.raises(ValidationError):
        ResourcesConfig.model_validate(content)
