"""Working folders: gone when their block or their process is, whoever still writes into them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from evergreen.paths import Home
from evergreen.scratch import discard, own_scratch, sweep_scratch, working_folder


def test_a_working_folder_goes_with_its_block():
    with working_folder("table-") as folder:
        assert folder.parent == own_scratch()
        (folder / "inside").mkdir()
        (folder / "inside" / "rows").write_text("1")
    assert not list(Home.locate().scratch.iterdir())


def test_it_leaves_what_else_the_process_has():
    with working_folder("a-"), working_folder("b-") as other:
        kept = other.parent / "raw.parquet"
        kept.write_text("rows")
    assert list(own_scratch().iterdir()) == [kept]


def test_it_goes_whatever_happens():
    with pytest.raises(KeyboardInterrupt), working_folder("table-"):
        raise KeyboardInterrupt
    assert not list(Home.locate().scratch.iterdir())


def test_what_is_written_into_a_discarded_folder_fails(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "0").write_text("rows")
    discard(folder)
    with pytest.raises(FileNotFoundError):
        (folder / "1").write_text("rows")
    assert not list(tmp_path.iterdir())
    discard(folder)  # nothing is there any more


def test_what_a_discarding_left_is_removed(tmp_path):
    left = tmp_path / ".parts.0123"
    left.mkdir()
    discard(left)
    assert not list(tmp_path.iterdir())


def test_processes_of_this_machine_that_are_gone_are_swept():
    scratch, machine = Home.locate().scratch, platform.node()
    process = [sys.executable, "-c", "import os; print(os.getpid())"]
    gone = subprocess.check_output(process, text=True).strip()
    kept = {f"{machine}-{os.getppid()}", f"another-{gone}", "shared"}
    for name in (own_scratch().name, f"{machine}-{gone}", *kept):
        (scratch / name).mkdir(parents=True)
    sweep_scratch(Home.locate())
    assert {folder.name for folder in scratch.iterdir()} == kept
