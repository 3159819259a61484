"""A server of the comparison: how it is installed and started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Server:
    """One server; ``folder`` in `HERE` holds its files, and its packages unless it is ours."""

    name: str
    title: str
    folder: str
    command: Callable[[Path, Path, int], list[str]]  # (programs, model, port)
    path: str
    body: Callable[[Rows], Any]
    answer: Callable[[Any], list[list[float]]]  # the probabilities
    batch_path: str | None = None  # where it is another one
    batch_body: Callable[[Rows], Any] | None = None
    batch_answer: Callable[[Any], list[list[float]]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_packages(self) -> bool:
        return (HERE / self.folder / "requirements.txt").exists()

    def programs(self, cache: Path) -> Path:
        """Where its Python is."""
        return (
            cache / self.folder / "venv/bin" if self.own_packages else Path(sys.executable).parent
        )

    def model(self, cache: Path) -> Path:
        return cache / self.folder / "model"

    def prepare(self, cache: Path) -> None:
        """Install its packages and train the forest, once."""
        done = self.model(cache).with_suffix(".done")
        if done.exists():
            return
        self.model(cache).parent.mkdir(parents=True, exist_ok=True)
        programs = self.programs(cache)
        if self.own_packages:
            uv = Path(sys.executable).with_name("uv")
            requirements = HERE / self.folder / "requirements.txt"
            run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, programs.parent])
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "-r", requirements]
            run([*install, "--python", programs / "python"])
        script = HERE / self.folder / "prepare.py"
        if script.exists():
            run([programs / "python", script, self.model(cache)])
        done.touch()

    def start(self, cache: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own; its output goes to ``log``."""
        programs, model = self.programs(cache), self.model(cache)
        ours = {} if self.own_packages else {"PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command(programs, model, port),
                cwd=HERE / self.folder,
                env={
                    **os.environ,
                    "PATH": f"{programs}:{os.environ['PATH']}",
                    "FOREST": str(model / "forest.joblib"),
                    "EVERGREEN_HOME": str(cache / "home"),
                    **ours,
                    **{key: text.format(port=port) for key, text in self.environment.items()},
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def run(command: Sequence[Path | str]) -> None:
    """Run a command, and exit with what it said where it fails."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}"}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
