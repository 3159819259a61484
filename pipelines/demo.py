"""``make demo``: the loop closes before your eyes, on the wine example, in a folder of its own.

Each command is shown and run as a user would type it. What is started here ends with it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from ruamel.yaml import YAML

from evergreen.deployment.processes import MARK, PATIENCE, end
from evergreen.deployment.servers import api_health
from evergreen.errors import EvergreenError, ExitCode, InputError, RefusedError, UnreachableError
from evergreen.paths import HOME_VARIABLE, Home
from pipelines.demo_summary import Phase, show_summary

ROOT: Final = Path(__file__).resolve().parents[1]
EXAMPLE: Final = ROOT / "configs" / "wine.yaml"
ROWS: Final = 500  # of each stretch of traffic
LEAST_ROWS: Final = 250  # fewer labels do not convince the guard
START: Final = 120.0  # seconds that the server gets
TRAFFIC: Final = (
    ("none", "Rows as they were at training: nothing is to be done."),
    ("concept_change", "Each class becomes the next one. One alarm is not believed yet."),
    ("concept_change", "Still so: the loop retrains on what came true, and swaps the model."),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the loop and return the exit code: 0 where it closed, 1 where it did not."""
    options = _options(arguments)
    console = Console(highlight=False, soft_wrap=True)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        run_demo(options.home.expanduser().absolute(), options.rows, console, keep=options.keep)
    except KeyboardInterrupt:
        print("\nInterrupted; what the demo had started is stopped.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except EvergreenError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)
    return ExitCode.DONE


def run_demo(folder: Path, rows: int, console: Console, *, keep: bool) -> None:
    """Train, serve, send traffic, take turns of the loop, and tell what was seen.

    ``rows`` are sent in each of four stretches. ``keep`` leaves the server running.

    Raises
    ------
    InputError
        If ``folder`` holds something else than a demo.
    RefusedError
        If a command ends otherwise than it should, or the loop did not close.
    UnreachableError
        If another demo uses the folder, or the server does not start.
    """
    with _alone(folder):
        demo = Demo(folder, rows, _free_port(), console)
        demo.prepare()
        with demo.server_stopped_at_the_end(keep=keep):
            phases = demo.show()
        closed = show_summary(Home(folder), phases, console, url=demo.url if keep else None)
        demo.say_how_to_go_on(keep=keep)
    if not closed:
        raise RefusedError("The loop did not close: no better version took over.")


@dataclass
class Demo:
    """One demonstration: its folder, and the port that its server listens on."""

    folder: Path
    rows: int
    port: int
    console: Console
    server: int | None = None  # its process

    @property
    def config(self) -> Path:
        """The use case's file."""
        return self.folder / EXAMPLE.name

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def mark(self) -> str:
        """What the server's process carries in its environment."""
        return f"demo|{self.folder}"

    @property
    def own(self) -> dict[str, str]:
        """The variables that keep the demo away from the user's models and stacks."""
        return {
            HOME_VARIABLE: str(self.folder),
            "ZENML_CONFIG_PATH": str(self.folder / "zenml"),
            "ZENML_REPOSITORY_PATH": str(self.folder),
        }

    def prepare(self) -> None:
        """Begin with an empty folder, and the example's settings, made small."""
        end(self.mark)  # of a demo that was killed
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        yaml = YAML()
        case = yaml.load(EXAMPLE.read_text(encoding="utf-8"))
        for section, changes in self._changes().items():
            case.setdefault(section, {}).update(changes)
        with self.config.open("w", encoding="utf-8") as file:
            yaml.dump(case, file)
        self.console.print(
            f"All of this demo is kept in {_short(self.folder)}; your own models and stacks are "
            f"left alone.\nIts use case is {_short(EXAMPLE)}, with fewer candidates and windows of "
            f"{self.rows} rows: {_short(self.config)}",
            markup=False,
        )

    def _changes(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "training": {"candidates": ["logistic_regression", "decision_tree"], "trials": 3},
            "monitoring": {"window": {"rows": self.rows}, "retrain": {"min_rows": 2 * self.rows}},
            "deploy": {"port": self.port},
        }

    def show(self) -> list[Phase]:
        """Run everything; return when each stretch of traffic began, and what it was."""
        phases = []
        self._say("Train the first model.")
        self._run("run.py", "--pipeline", "train", *self._config, "--quiet")
        self._say("Serve it. The API swaps new champions in by itself.")
        self._serve()
        for number, (scenario, words) in enumerate(TRAFFIC, start=1):
            self._say(words)
            phases.append(self._send(scenario, number))
            quiet = () if number == len(TRAFFIC) else ("--quiet",)
            self._run("run.py", "--pipeline", "continuous", *self._config, *quiet)
        self._say("The same traffic, with the new model. The guard compares both on it.")
        phases.append(self._send("concept_change", len(TRAFFIC) + 1))
        self._run("run.py", "--guard", *self._config)
        return phases

    @property
    def _config(self) -> tuple[str, str]:
        return "--config", _short(self.config)

    def _send(self, scenario: str, seed: int) -> Phase:
        phase = Phase.begins(scenario)
        words = ("--rows", str(self.rows), "--seed", str(seed), *self._config)
        self._run("run.py", "--simulate", scenario, *words)
        return phase

    def _say(self, words: str) -> None:
        self.console.print(f"\n[bold]{escape(words)}[/bold]")

    def _run(self, *words: str) -> None:
        """Run a command to its end; raise `RefusedError` where it fails."""
        self._show(words)
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *words], cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL
        )
        try:
            code = process.wait()
        except BaseException:
            _interrupt(process)
            raise
        if code != ExitCode.DONE:
            raise RefusedError(
                f"The demo stops here: that command ended with exit code {code}. Its logs are in "
                f"{_short(Home(self.folder).logs)}"
            )

    def _serve(self) -> None:
        """Start the API in the background; return when it answers."""
        words = ("-m", "evergreen.serving", *self._config, "--port", str(self.port))
        self._show((*words, "&"))
        log = self.folder / "server.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, *words],
                cwd=ROOT,
                env={**self._environment(), MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which stops it then
            )
        self.server = process.pid
        limit = time.monotonic() + START
        while (health := api_health(self.url)) is None or health.version is None:
            if process.poll() is not None or time.monotonic() > limit:
                raise UnreachableError(f"The API does not start. What it said: {_short(log)}")
            time.sleep(0.1)
        self.console.print(log.read_text(encoding="utf-8").rstrip(), markup=False)

    @contextmanager
    def server_stopped_at_the_end(self, *, keep: bool) -> Iterator[None]:
        """End the server however the block ends, unless it ends well and is to be kept."""
        try:
            yield
        except BaseException:
            end(self.mark)
            raise
        if not keep:
            end(self.mark)

    def say_how_to_go_on(self, *, keep: bool) -> None:
        """Say how to look at it further, and how to end it."""
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.own.items())
        self.console.print("\nTo go on with it by your own commands:", style="dim")
        self.console.print(f"  export {variables}", markup=False)
        if keep:
            self.console.print(f"  kill {self.server}  # ends the API at {self.url}", markup=False)
        else:
            self.console.print("The server is stopped (make demo ARGS=--keep leaves it).")

    def _show(self, words: Sequence[str]) -> None:
        self.console.print(f"[cyan]$ python {escape(' '.join(words))}[/cyan]")

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EVERGREEN_", "MLFLOW_", "ZENML_"))
        }
        return {**kept, "ZENML_ANALYTICS_OPT_IN": "false", **self.own}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse folders that are not a demo's, and two demos at once."""
    if folder.exists() and any(folder.iterdir()) and not (folder / EXAMPLE.name).is_file():
        raise InputError(f"{folder} holds something else; name a new folder: --home FOLDER")
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UnreachableError(f"Another demo uses {folder}. Wait for it, or end it.") from None
    try:
        yield
    finally:
        lock.release()


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a command end cleanly, as by Ctrl-C, which a terminal sent it already."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _short(path: Path) -> str:
    """Write a path as a user types it in the project's folder."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _terminated(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.demo", description="Show the whole loop in a few minutes."
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Home.locate().root / "demo",
        metavar="FOLDER",
        help="where everything is kept; emptied first (%(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=ROWS,
        metavar="N",
        help="rows of each stretch of traffic (%(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    found = parser.parse_args(arguments)
    if found.rows < LEAST_ROWS:
        parser.error(f"--rows must be {LEAST_ROWS} or more")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
