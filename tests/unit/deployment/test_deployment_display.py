"""What the command line says of deployments."""

from __future__ import annotations

import io

import pytest

from evergreen.deployment.display import show_deployment, show_removal, show_status
from evergreen.deployment.outcome import DeploymentOutcome, ModelStatus, Removal
from evergreen.deployment.values import Check, Deployment, DeploymentReport, Release, ServerState
from evergreen.deployment.wording import condition, now_serving
from evergreen.promotion.golden import Replay

RELEASE = Release(
    name="boats",
    version="2",
    folder="/bundles/2",
    runtime="onnx",
    replay=Replay(passed=True, rows=30, difference=0.0, tolerance=1e-6, message=""),
)


def state(title: str = "Contract API", **more) -> ServerState:
    known = {"condition": "running", "url": "http://127.0.0.1:8000", "version": "2"}
    kind = "deployer" if title == "Contract API" else "model_deployer"
    return ServerState(kind=kind, flavor="local", component="c", title=title, **{**known, **more})


def report(*, changed: bool, former: str | None) -> DeploymentReport:
    titles = {"MLflow's server": "http://127.0.0.1:8001", "Contract API": "http://127.0.0.1:8000"}
    return DeploymentReport(
        release=RELEASE,
        former=former,
        deployments=tuple(
            Deployment(
                before=state(title, condition="absent", version=None),
                after=state(title, url=url),
                changed=changed,
                note="it served version 1" if changed else None,
            )
            for title, url in titles.items()
        ),
        checks=tuple(
            Check(
                title=title,
                url=url,
                version="2",
                passed=True,
                rows=30,
                probabilities="API" in title,
                difference=2e-17 if "API" in title else None,
                message="",
            )
            for title, url in titles.items()
        ),
        agreement="2 servers agree on 30 golden rows",
    )


def shown(show, *arguments, **options) -> str:
    stream = io.StringIO()
    show(*arguments, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changed", "former", "words"),
    [
        (True, "1", ["DEPLOYED", "after version 1", "it served version 1"]),
        (True, None, ["DEPLOYED Version 2 of 'boats' is deployed."]),
        (True, "2", ["DEPLOYED", "again"]),
        (False, "2", ["UNCHANGED", "nothing was changed", "was left as it was"]),
    ],
)
def test_the_end_of_a_deployment(changed, former, words):
    outcome = DeploymentOutcome.of(report(changed=changed, former=former), {"Start ZenML": 1.0})
    outcome = outcome.model_copy(update={"config": "configs/my boats.yaml"})
    text = shown(show_deployment, outcome)
    words += ["✓ 30 of 30", "2e-17", " labels ", "http://127.0.0.1:8001"]
    words += ["--undeploy --config 'configs/my boats.yaml'"]
    for word in words:
        assert word in " ".join(text.split()), word
    assert text.rstrip().endswith("http://127.0.0.1:8000")  # the address comes last
    assert "…" not in text  # nothing is cut off at 80 columns
    assert len(shown(show_deployment, outcome, quiet=True).splitlines()) == 2


def test_what_serves_where():
    model = ModelStatus(
        use_case="boats",
        champion="2",
        deployed="2",
        since=None,
        servers=(
            state("MLflow's server", version="1"),
            state(condition="stale", version=None, detail="its process 7 is gone"),
        ),
    )
    text = " ".join(shown(show_status, [model], "local").split())
    assert "boats champion 2, version 2 deployed" in text
    assert "…" not in text
    assert "it serves version 1, not the champion" in text
    assert "Contract API: its process 7 is gone." in text


def test_what_was_stopped():
    assert "STOPPED  Contract API" in shown(
        show_removal, Removal(use_case="boats", stopped=(state(),))
    )
    assert "Nothing of 'boats'" in shown(show_removal, Removal(use_case="boats", stopped=()))


def test_what_serves_after_a_failure():
    old = state(version="1")
    assert now_serving([old], [old]) == (
        "Everything is as it was before: Contract API version 1 at http://127.0.0.1:8000."
    )
    assert "nothing serves" in now_serving([], [state(condition="absent")])
    assert "Not everything" in now_serving([old], [state(version="2")])


def test_conditions_in_words():
    assert condition(state()) == "running"
    assert condition(state(detail="the log is away")) == "degraded"
    assert condition(state(condition="stale")) == "down"
    assert condition(state(condition="absent")) == "not deployed"
