"""A failure on another machine is raised here as it was raised there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from zenml.utils.exception_utils import collect_exception_information

from evergreen.errors import InputError, NotServingError, RefusedError, UnreachableError
from evergreen.resources import ResourcesConfig
from pipelines.elsewhere import _failure
from pipelines.placement import DEPLOYING, isolated_settings, pod_settings
from pipelines.run_records import is_worth_another_try, raised_by, title_of


def step(raising):
    """Return a step that failed, as ZenML's server keeps it."""
    try:
        raising()
    except Exception as error:
        return SimpleNamespace(exception_info=collect_exception_information(error))
    raise AssertionError("nothing was raised")


def refuse():
    raise RefusedError("The table fails 2 quality checks.\n- missing values: 40 %")


def lose():
    raise UnreachableError("The database does not answer.\nIt is at db:5432.")


def end_by_itself():
    raise NotServingError("The API does not come up: its container ended 2 times.")


def wrap():
    try:
        lose()
    except UnreachableError as error:
        raise RuntimeError("Step failed") from error


@pytest.mark.parametrize(
    ("raising", "kind", "message"),
    [
        (refuse, RefusedError, "The table fails 2 quality checks.\n- missing values: 40 %"),
        (wrap, UnreachableError, "The database does not answer.\nIt is at db:5432."),
    ],
)
def test_a_products_error_comes_home_with_its_whole_message(raising, kind, message):
    error = raised_by(step(raising))
    assert type(error) is kind
    assert str(error) == message


def test_what_is_no_error_of_the_product_stays_a_fault():
    assert raised_by(step(lambda: 1 / 0)) is None
    assert raised_by(SimpleNamespace(exception_info=None)) is None

    # An error of another library may have the name of something else in evergreen.errors.
    told = SimpleNamespace(source="other.ExitCode", message="no", traceback="other.ExitCode: no")
    assert raised_by(SimpleNamespace(exception_info=told)) is None


def test_an_error_that_is_both_input_and_cause_keeps_the_outer_kind():
    def raising():
        try:
            refuse()
        except RefusedError as error:
            raise InputError("Change the file.") from error

    error = raised_by(step(raising))
    assert type(error) is InputError


def test_what_keeps_a_run_from_starting_is_out_of_reach():
    client = requests.ConnectionError("no route to 10.0.0.1")
    for error in (RuntimeError("ErrImagePull"), client):
        known = _failure(None, error)
        assert type(known) is UnreachableError
        assert str(error) in str(known)
    mistake = KeyError("ours")
    assert _failure(None, mistake) is mistake


def test_steps_are_shown_as_a_person_writes_them():
    assert title_of("search_candidates") == "Search candidates"


def stack(orchestrator="kubernetes", deployer="kubernetes", account="steps"):
    config = SimpleNamespace(pod_settings=None, step_pod_service_account_name=account)
    return SimpleNamespace(
        orchestrator=SimpleNamespace(flavor=orchestrator, config=config),
        deployer=SimpleNamespace(flavor=deployer) if deployer else None,
        model_deployer=None,
    )


def test_steps_that_deploy_have_an_account_that_may():
    resources = ResourcesConfig.model_validate({"steps": {"smoke_test": {"cpu": 1}}})
    common, steps = pod_settings(resources, stack())
    assert common == {}
    account = {"step_pod_service_account_name": "deployer"}
    assert steps["deploy_everywhere"] == {"orchestrator": account}
    cpu = {"pod_settings": {"resources": {"requests": {"cpu": "1"}}}}
    assert steps["smoke_test"] == {"orchestrator": {**cpu, **account}}
    assert set(steps) == set(DEPLOYING)


@pytest.mark.parametrize("other", [stack(deployer=None), stack(account=None)])
def test_where_nothing_is_deployed_the_stacks_own_account_stays(other):
    assert pod_settings(ResourcesConfig(), other) == ({}, {})
    assert pod_settings(ResourcesConfig(), stack(orchestrator="local_docker")) == ({}, {})


@pytest.mark.parametrize(
    ("raising", "again"),
    [
        (refuse, False),
        (lose, True),
        (end_by_itself, False),
        (lambda: 1 / 0, False),
        (Path("missing").read_text, False),
    ],
)
def test_a_step_is_tried_again_only_where_something_was_away(raising, again):
    assert is_worth_another_try(step(raising)) is again


def test_a_step_that_ended_without_a_word_or_for_want_of_a_server_is_tried_again():
    assert is_worth_another_try(SimpleNamespace(exception_info=None))
    for source in ("botocore.exceptions.EndpointConnectionError", "builtins.ConnectionError"):
        told = SimpleNamespace(source=source, message="no", traceback=f"{source}: no")
        assert is_worth_another_try(SimpleNamespace(exception_info=told))


def test_a_step_apart_has_its_own_account_and_never_that_of_the_run():
    deploys = {"orchestrator": {"step_pod_service_account_name": "deployer"}}
    assert isolated_settings(deploys, "steps")["orchestrator"]["service_account_name"] == "deployer"
    assert isolated_settings({}, "steps") == {"orchestrator": {"service_account_name": "steps"}}
    assert isolated_settings({}, None) == {}
