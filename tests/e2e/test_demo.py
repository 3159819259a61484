"""``make demo`` as typed: interrupted it leaves nothing running; run to its end the loop closes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from evergreen.deployment.processes import marked
from tests.support.command_line import ROOT

pytestmark = pytest.mark.timeout(1500)
DEMO = (sys.executable, "-m", "pipelines.demo", "--rows", "250", "--home")


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a demo in a process group of its own, with the user's state elsewhere."""
    environment = {**os.environ, "EVERGREEN_HOME": str(folder.parent / "of-the-user")}
    return subprocess.Popen(
        [*DEMO, str(folder)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(demo: subprocess.Popen[str], words: str) -> str:
    said = ""
    while words not in said:
        line = demo.stdout.readline()
        assert line, f"the demo ended: {said}"
        said += line
    return said


@pytest.mark.long
def test_the_loop_closes_and_nothing_is_left_running(tmp_path):
    folder = tmp_path / "demo"
    demo = started(folder)
    said = read_until(demo, "Health")
    url = re.findall(r"http://\S+", said)[0]
    assert httpx.get(f"{url}/health").json()["model_version"] == "1"
    assert marked(f"demo|{folder}")
    demo.send_signal(signal.SIGINT)
    rest = demo.communicate(timeout=120)[0]
    assert demo.returncode == 130, rest
    assert "what the demo had started is stopped" in rest
    assert not marked(f"demo|{folder}")

    demo = started(folder)  # again, over what was left
    said, _ = demo.communicate(timeout=1300)
    assert demo.returncode == 0, said
    rows = re.findall(
        r"^ (none|concept_change) +250 +version (\d) +([\d.]+)% +(.*?) *$", said, re.M
    )
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("none", "1", "No drift"),
        ("concept_change", "1", "Watch"),
        ("concept_change", "1", "Retrained"),
        ("concept_change", "2", ""),
    ]
    shares = [float(row[2]) for row in rows]
    assert min(shares[0], shares[3]) > 90 > 20 > max(shares[1:3])
    assert "Version 2 stays." in said
    pages = re.findall(r"^  \w+ +(/.*\.html)$", said, re.M)
    assert {Path(page).name for page in pages} == {
        "monitoring.html",
        "decision.html",
        "window.html",
        "evidently.html",
        "training.html",
    }
    for page in pages:
        assert "wine" in Path(page).read_text(encoding="utf-8")
    assert not marked(f"demo|{folder}")
    assert not (tmp_path / "of-the-user").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("dear …", encoding="utf-8")
    demo = started(tmp_path)
    said, _ = demo.communicate(timeout=120)
    assert demo.returncode == 2
    assert "holds something else" in said
    assert (tmp_path / "letters.txt").exists()
