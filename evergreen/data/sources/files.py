"""Files that are not there: messages that help to find them."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from evergreen.errors import InputError, UnreachableError
from evergreen.object_stores import is_remote, local_copy
from evergreen.paths import Home

KEY = "data.source.path"


def local_path(text: str) -> Path:
    """Return where a path of a source is on this machine, fetching it from an object store.

    Raises
    ------
    InputError
        If the store has nothing there.
    UnreachableError
        If it does not answer.
    """
    if not is_remote(text):
        return Path(text).expanduser()
    return local_copy(text, Home.locate().tables, KEY)


def require_file(path: Path) -> None:
    """Raise `InputError` where ``path`` is no file, naming similar ones in its folder."""
    try:
        if path.is_file():
            return
        if path.is_dir():
            raise InputError(f"{KEY}: {path} is a folder, not a file")
        raise InputError(missing_file(path))
    except OSError as error:
        raise unreadable(path, error) from error


def missing_file(path: Path, key: str = KEY) -> str:
    """Say that ``path`` does not exist, and what is there instead."""
    folder = path.parent
    if not folder.is_dir():
        return f"{key}: {path} does not exist; nor does its folder {folder}"
    names = sorted(entry.name for entry in folder.iterdir())
    near = get_close_matches(path.name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "no file there has a similar name"
    return f"{key}: {path} does not exist; {hint}"


def unreadable(path: Path, error: OSError) -> UnreachableError:
    """Say that the file system does not let ``path`` be read."""
    return UnreachableError(f"{KEY}: cannot read {path}: {error.strerror or error}")
