"""Following an alias: when it moves, the version that it names is loaded beside and swapped in.

Who follows the champion also follows the traffic plan; see `evergreen.serving.challenger`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from evergreen.errors import EvergreenError, InputError, UnreachableError
from evergreen.serving.challenger import RETRY, ChallengerFollower
from evergreen.serving.holder import ModelHolder, Served
from evergreen.serving.loading import Load, load_version
from evergreen.serving.registry_reader import Located, ModelState, RegistryReader, locate, look

INTERVAL: Final = 3.0  # seconds between looks

logger = logging.getLogger(__name__)


class Watcher:
    """Keeps a holder at the version that an alias names, or loads one version for good.

    The traffic plan is followed beside the alias ``champion`` only.

    Whatever goes wrong, the model that serves goes on serving; why the other one does not stands
    in `ModelHolder.failure` and in the log.

    Parameters
    ----------
    load
        Verifies a bundle folder, replays its golden rows and returns its runtime; see
        `evergreen.serving.runtime.load_runtime`.
    cache
        Folder for bundles that must be fetched.
    memory
        A file in which processes of one server note what served last. A process that takes the
        place of another starts with that where what the alias names now is no good.
    """

    def __init__(
        self,
        holder: ModelHolder,
        registry: RegistryReader,
        name: str,
        load: Load,
        *,
        cache: Path,
        alias: str = "champion",
        version: str | None = None,
        interval: float = INTERVAL,
        memory: Path | None = None,
    ) -> None:
        self.holder = holder
        self.registry = registry
        self.name = name
        self.alias = None if version is not None else alias
        self.version = version
        self.interval = interval
        self._load = load
        self._cache = cache
        self._memory = memory
        self._challenger = (
            ChallengerFollower(holder, registry, name, load, cache)
            if self.alias == "champion"
            else None
        )
        self._served: Located | None = None
        self._refused: Located | None = None  # the last one that was no good
        self._refused_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def load_first(self) -> Served:
        """Load what is to be served, before anything is answered.

        Raises
        ------
        InputError
            If there is no such model, version or alias, or its bundle is no good.
        UnreachableError
            If registry or files cannot be reached.
        """
        state = located = None
        try:
            state = look(self.registry, self.name)
            located = self._locate(state)
            served = self._swap(located)
        except (InputError, UnreachableError) as error:
            last = self._remembered()
            if last is None or last == located:
                raise
            served = self._swap(last)
            self._refused, self._refused_at = located, time.monotonic()
            self._report(located, str(error))
        if state is not None and self._challenger is not None:
            self._challenger.follow(state)
        return served

    def start(self) -> None:
        """Look every few seconds from now on; a fixed version needs no looking."""
        if self.alias is not None:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def check(self) -> bool:
        """Look once; return whether another champion serves now. Failures are reported only."""
        try:
            state = look(self.registry, self.name)
        except Exception as error:  # what serves must go on, whatever a registry does
            self._note(None, error)
            return False
        swapped = self._follow(state)
        if self._challenger is not None:
            self._challenger.follow(state)
        return swapped

    def _follow(self, state: ModelState) -> bool:
        located = None
        try:
            located = self._locate(state)
            if located == self._served:
                self._recovered()
                return False
            if located == self._refused and time.monotonic() < self._refused_at + RETRY:
                return False
            self._swap(located)
        except Exception as error:  # the model that serves must go on, whatever a bundle does
            self._note(located, error)
            return False
        return True

    def _note(self, located: Located | None, error: Exception) -> None:
        """Report an error; what lies in the bundle itself is not tried again at once."""
        if not isinstance(error, UnreachableError | OSError):
            self._refused, self._refused_at = located, time.monotonic()
            if not isinstance(error, EvergreenError):
                logger.error("Loading %s failed", located, exc_info=error)
        self._report(located, str(error) or type(error).__name__)

    def _locate(self, state: ModelState) -> Located:
        alias = self.alias or "champion"
        return locate(self.registry, self.name, alias=alias, version=self.version, state=state)

    def _swap(self, located: Located) -> Served:
        runtime = load_version(self.registry, located, self._load, self._cache)
        before = self._served
        served = self.holder.swap(runtime, located.version, self.alias)
        self._served, self._refused = located, None
        self._remember(located)
        if before is not None:
            logger.warning(
                "Version %s of %r serves now, after version %s",
                located.version,
                self.name,
                before.version,
            )
        return served

    def _remember(self, located: Located) -> None:
        if self._memory is not None:
            temporary = self._memory.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(asdict(located)), encoding="utf-8")
            temporary.replace(self._memory)

    def _remembered(self) -> Located | None:
        if self._memory is None or not self._memory.exists():
            return None
        return Located(**json.loads(self._memory.read_text(encoding="utf-8")))

    def _recovered(self) -> None:
        """The alias names what serves: whatever was wrong before has passed."""
        self._refused = None
        if self.holder.failure is not None:
            self.holder.clear_failure()
            logger.warning("The registry names what serves; all is well again")

    def _report(self, located: Located | None, reason: str) -> None:
        known = self.holder.failure
        version = None if located is None else located.version
        if known is None or (known.version, known.reason) != (version, reason):
            kept = self._served.version if self._served is not None else None
            logger.error("Version %s stays: %s", kept, reason)
        self.holder.report(version, reason)

    def _run(self) -> None:
        # Processes that started together should not all ask at the same moment.
        while not self._stopping.wait(self.interval * random.uniform(0.8, 1.2)):  # noqa: S311
            self.check()


def load_folder(
    holder: ModelHolder,
    folder: Path,
    load: Load,
    name: str | None = None,
) -> Served:
    """Serve the bundle in a folder, of the model ``name`` where one is given.

    Raises
    ------
    InputError
        If the bundle is no good, or of another model.
    UnreachableError
        If it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"There is no bundle folder {folder}.")
    runtime = load(folder, None)
    if name is not None and runtime.contract.use_case != name:
        raise InputError(
            f"The bundle {folder} is of {runtime.contract.use_case!r}, not of {name!r}."
        )
    return holder.swap(runtime)
