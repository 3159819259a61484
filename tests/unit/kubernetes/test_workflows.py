"""GitHub's workflows call targets of the Makefile that exist; a release needs its notes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.release_notes import notes
from evergreen.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def jobs():
    return [
        pytest.param(job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in yaml.safe_load(path.read_text())["jobs"].items()
    ]


def valid(path: Path) -> bool:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_workflows_are_valid_and_a_wrong_one_is_found(tmp_path):
    assert len(WORKFLOWS) == 3
    assert all(valid(path) for path in WORKFLOWS)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("timeout-minutes", "timeout_minutes"))
    assert not valid(wrong)


@pytest.mark.parametrize("job", jobs())
def test_a_job_runs_targets_of_the_makefile(job):
    assert "uses" in job or job["timeout-minutes"] <= 90
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in job.get("steps", ()):
        for command in re.findall(r"make ([a-z-]+)", step.get("run", "")):
            assert command in targets
        assert re.search(r"@([0-9a-f]{40}|v\d+)$", step.get("uses", "local@v0"))


CHANGELOG = """\
# Changelog

## [1.1.0] - unreleased

- Later.

## [1.0.0] - 2026-05-01

- First.

## [0.9.0] - 2026-04-01
"""


def test_notes_are_the_section_of_a_version():
    assert notes("v1.0.0", CHANGELOG) == "- First.\n"
    for version, said in (
        ("v1.1.0", "no date"),
        ("v2.0.0", "no section"),
        ("v0.9.0", "nothing"),
        ("", "no section"),
    ):
        with pytest.raises(InputError, match=said):
            notes(version, CHANGELOG)
