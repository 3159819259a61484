"""Whether a cluster's processes are like this one: Python, libraries, Evergreen's code, files."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Final

from evergreen.errors import InputError
from evergreen.paths import DATABASE_VARIABLE, HOME_VARIABLE, Home
from evergreen.provenance import MODELLING_LIBRARIES, code_fingerprint

if TYPE_CHECKING:
    from distributed import Client

# Results depend on them, or how work is sent.
PACKAGES: Final = (*MODELLING_LIBRARIES, "pyarrow", "cloudpickle", "dask", "distributed")
_CURE: Final = (
    "Start scheduler and workers from what this process runs in: the same image, or the same "
    "source tree and an environment of its requirements.txt"
)


def require_fitting(client: Client) -> None:
    """Compare scheduler and workers with this process, and see that they share its files.

    Raises
    ------
    InputError
        If one of them differs, or a worker does not see this process's files.
    """
    found = client.get_versions(packages=PACKAGES)
    here = found["client"]["packages"]
    _require_versions("scheduler", found["scheduler"]["packages"], here)
    for address, there in found["workers"].items():
        _require_versions(f"worker {address}", there["packages"], here)
    _require_code(client)
    _require_database(client)
    _require_shared_files(client)


def _require_versions(who: str, there: dict[str, Any], here: dict[str, Any]) -> None:
    pairs: dict[str, tuple[Any, Any]] = {
        "Python": (_minor(there["python"]), _minor(here["python"])),
        **{name: (there.get(name), here.get(name)) for name in PACKAGES},
    }
    others = [
        f"{name} {theirs or 'not at all'} instead of {ours or 'none'}"
        for name, (theirs, ours) in pairs.items()
        if theirs != ours
    ]
    if others:
        raise InputError(f"The Dask {who} has {', '.join(others)}. {_CURE}")


def _require_code(client: Client) -> None:
    def look() -> str | None:  # not by name: a worker may not have Evergreen at all
        try:
            from evergreen.provenance import code_fingerprint
        except ImportError:
            return None
        return code_fingerprint()

    here = code_fingerprint()
    for address, there in _answers(client, look).items():
        if there != here:
            has = "no Evergreen" if there is None else "Evergreen of another version"
            raise InputError(f"The Dask worker {address} has {has}. {_CURE}")


def _require_database(client: Client) -> None:
    """Where a worker kept the tables elsewhere, it would find an empty log there."""
    here = os.getenv(DATABASE_VARIABLE)
    for address, there in _answers(client, os.getenv, DATABASE_VARIABLE).items():
        if there != here:
            raise InputError(
                f"The Dask worker {address} has another {DATABASE_VARIABLE} than this process, or "
                "only one of them has it; start the worker with the same"
            )


def _require_shared_files(client: Client) -> None:
    scratch = Home.locate().scratch
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix="seen-") as file:
        for address, sees in _answers(client, os.path.exists, file.name).items():
            if not sees:
                raise InputError(
                    f"The Dask worker {address} does not see the files in {scratch}, with which "
                    f"it would work. {HOME_VARIABLE} must name a folder that all workers have at "
                    "the same path, such as a shared volume"
                )


def _answers(client: Client, function: Any, *arguments: Any) -> dict[str, Any]:
    """Return what every worker answers; those that are gone meanwhile do not."""
    told = client.run(function, *arguments, on_error="return")
    for answer in told.values():
        if isinstance(answer, Exception) and not isinstance(answer, OSError):
            raise answer
    return {at: answer for at, answer in told.items() if not isinstance(answer, Exception)}


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
