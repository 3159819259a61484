"""``python -m stacks apply``: ZenML becomes what the file says, and nothing else changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import records
from tests.support.command_line import ROOT, Finished, Home

ZENML = str(Path(sys.executable).with_name("zenml"))
LOCAL = ROOT / "stacks" / "local.yaml"
OWN = """\
name: bench
components:
  orchestrator: {name: bench, flavor: local}
  artifact_store: {name: bench, flavor: local, config: {path: "${BENCH_STORE}"}}
  experiment_tracker:
    name: bench
    flavor: mlflow
    config:
      tracking_uri: http://127.0.0.1:5001
      tracking_username: ada
      tracking_password: hush
      tracking_insecure_tls: true
  alerter: {name: bench, flavor: evergreen_file, config: {path: /tmp/alerts.log}}
"""


def stacks(home: Home, *words: str, **extra: str) -> Finished:
    return home.command(sys.executable, "-m", "stacks", *words, **extra)


def marked(done: Finished) -> list[str]:
    """Return the lines that tell a difference."""
    return [line for line in done.out.splitlines() if line.startswith(("+", "~"))]


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    path = tmp_path / "bench.yaml"
    path.write_text(OWN, encoding="utf-8")
    return path


def test_the_local_stack_is_applied_once(tmp_path):
    home = Home(tmp_path)
    planned = marked(stacks(home, "apply", str(LOCAL), "--dry-run").check())
    assert "+ experiment_tracker 'mlflow_local': flavor mlflow" in planned
    assert planned[-1].startswith("+ stack 'local'")
    # The dry run changed nothing, so there is as much to do as before.
    done = stacks(home, "apply", str(LOCAL)).check(0, "zenml stack set local")
    assert marked(done) == planned
    again = stacks(home, "apply", str(LOCAL), "--set").check().out
    assert "nothing to change" in again
    assert records.active_stack(home) == "local"

    # From here on it is ZenML's own command line that looks.
    home.command(ZENML, "stack", "list").check(0, "default", "local")
    words = ("mlflow_local", "evidently", "MODEL_REGISTRY", "ALERTER")
    home.command(ZENML, "stack", "describe", "local").check(0, *words)
    home.command(ZENML, "stack", "set", "default").check()
    assert records.active_stack(home) == "default"


def test_what_changes_in_the_file_changes_in_zenml(home, bench):
    stacks(home, "apply", str(bench), "--unchecked").check()
    assert records.components(home, "bench")["experiment_tracker"]["tracking_insecure_tls"] is True

    text = bench.read_text(encoding="utf-8").replace(":5001", ":5002").replace("hush", "shout")
    gone = ("alerter", "tracking_insecure_tls")
    kept = [line for line in text.splitlines() if not any(word in line for word in gone)]
    bench.write_text("\n".join(kept), encoding="utf-8")
    expected = (
        "~ experiment_tracker 'bench' tracking_uri: http://127.0.0.1:5001 -> http://127.0.0.1:5002",
        "~ experiment_tracker 'bench' tracking_insecure_tls: True -> None",
        "~ experiment_tracker 'bench' tracking_password: *** -> ***",
        "~ stack 'bench' alerter: bench -> None",
    )
    before = records.components(home, "bench")
    shown = stacks(home, "apply", str(bench), "--dry-run").check(0, *expected).out
    assert "hush" not in shown
    assert "shout" not in shown
    assert records.components(home, "bench") == before

    stacks(home, "apply", str(bench), "--unchecked").check(0, *expected)
    after = records.components(home, "bench")
    assert set(after) == {"orchestrator", "artifact_store", "experiment_tracker"}
    assert after["experiment_tracker"] == {
        "tracking_uri": "http://127.0.0.1:5002",
        "tracking_username": "ada",
        "tracking_password": "shout",
    }
    assert "nothing to change" in stacks(home, "apply", str(bench), "--unchecked").check().out
    assert records.active_stack(home) == "local"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("flavor: mlflow", "flavor: mlfow", ("mlfow", "experiment-tracker flavor list")),
        ("  alerter:", "  alarm:", ("alarm", "no such component kind", "alerter")),
        ("tracking_username: ada", "", ("experiment_tracker 'bench'", "tracking_username")),
        ("BENCH_STORE", "BENCH_STOER", ("environment variables", "BENCH_STOER")),
        ("flavor: local}", "flavour: local}", ("components.orchestrator", "flavo")),
        ("name: bench\n", "name: [bench\n", ("is not YAML",)),
    ],
)
def test_a_file_that_cannot_be_applied_registers_no_stack(old, new, words, shared_home, bench):
    bench.write_text(bench.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    stacks(shared_home, "apply", str(bench), "--unchecked").check(2, str(bench), *words)
    assert "bench" not in records.stacks(shared_home)


def test_a_file_that_is_not_there(shared_home):
    stacks(shared_home, "apply", "stacks/lokal.yaml").check(2, "stacks/lokal.yaml", "local.yaml")
