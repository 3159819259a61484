"""A bundle brings what loading its model imports of this package, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

from evergreen.promotion.bundled_code import copy_code
from evergreen.promotion.serialization import TRUSTED_TYPES
from tests.support.command_line import ROOT

IMPORT = """
import importlib, json, sys
sys.path.insert(0, PATH)
for name in json.loads(sys.argv[1]):
    module, _, part = name.rpartition(".")
    getattr(importlib.import_module(module), part)
print(json.dumps([
    [name, module.__file__]
    for name, module in sys.modules.items()
    if name.partition(".")[0] == "evergreen"
]))
"""


def test_every_type_can_be_imported_from_the_copy_alone(tmp_path):
    package = copy_code(TRUSTED_TYPES, tmp_path)
    ours = [name for name in TRUSTED_TYPES if name.startswith("evergreen.")]
    assert ours
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"PATH = {str(tmp_path)!r}\n{IMPORT}", json.dumps(ours)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(json.loads(done.stdout))
    assert all(file.startswith(str(package)) for file in found.values())
    copied = {file.relative_to(package) for file in package.rglob("*.py")}
    assert len(copied) < len(list((ROOT / "evergreen").rglob("*.py"))) / 4
    assert {str(package / file) for file in copied} >= set(found.values())


def test_types_of_other_packages_bring_nothing(tmp_path):
    assert not copy_code(["sklearn.pipeline.Pipeline"], tmp_path).exists()
