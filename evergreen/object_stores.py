"""Files in object stores (S3, Google Cloud Storage, Azure), by Apache Arrow's file systems.

Credentials are those of the stores' own clients, such as AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL names
an S3 server that is not Amazon's.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from evergreen.errors import InputError, UnreachableError

if TYPE_CHECKING:
    from pyarrow import fs

SCHEMES: Final = ("s3", "gs", "gcs", "abfs", "abfss")  # that pyarrow reads
_MAGIC: Final = "*?["


def is_remote(address: str) -> bool:
    """Tell whether an address names something in an object store."""
    return urlsplit(address).scheme in SCHEMES


def copy_folder(address: str, target: Path, what: str) -> None:
    """Copy all files below an address into an existing folder.

    Raises
    ------
    InputError
        If there is nothing; ``what`` names in messages what was looked for.
    UnreachableError
        If the store does not answer, or a file cannot be kept.
    """
    with _speaking_of(address, what):
        from pyarrow import fs

        store, path = fs.FileSystem.from_uri(address)
        fs.copy_files(path, str(target), source_filesystem=store)


def local_copy(address: str, cache: Path, what: str) -> Path:
    """Return where a file, a folder or the files of a glob are on this machine.

    What did not change there since the last time (by paths, sizes and times) is not fetched again;
    of every address the newest state alone is kept. Copies have the times of their originals.

    Raises
    ------
    InputError
        If there is nothing at the address; ``what`` names in messages what was looked for.
    UnreachableError
        If the store does not answer, or the files cannot be kept.
    """
    with _speaking_of(address, what):
        from pyarrow import fs

        split = urlsplit(address)
        base = _without_magic(split.path)
        store, root = fs.FileSystem.from_uri(f"{split.scheme}://{split.netloc}{base}")
        pattern = f"{split.netloc}{split.path}".rstrip("/")
        files = _files(store, root, pattern if base != split.path else None)
        if not files:
            raise InputError(f"{what}: there is nothing at {address}")
        place = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
        kept = place / _state(files)
        if not kept.is_dir():
            _fetch(store, files, kept)
        for other in place.iterdir():
            if other != kept:
                shutil.rmtree(other, ignore_errors=True)
        return kept / pattern


def exists(address: str, what: str) -> bool:
    """Tell whether there is a file at an address; raise `UnreachableError` if nobody answers."""
    with _speaking_of(address, what, "reached"):
        from pyarrow import fs

        store, path = fs.FileSystem.from_uri(address)
        return bool(store.get_file_info(path).type == fs.FileType.File)


def upload(file: Path, address: str, what: str) -> None:
    """Copy a file of this machine to an address, where it appears whole or not at all.

    Raises
    ------
    InputError
        If the bucket does not exist.
    UnreachableError
        If the store does not answer, or does not take it.
    """
    with _speaking_of(address, what, "written"):
        from pyarrow import fs

        store, path = fs.FileSystem.from_uri(address)
        fs.copy_files(str(file), path, destination_filesystem=store)


def remove(address: str, what: str) -> None:
    """Delete the file at an address, if there is one; raise `UnreachableError` if that fails."""
    with _speaking_of(address, what, "deleted"):
        from pyarrow import fs

        store, path = fs.FileSystem.from_uri(address)
        if store.get_file_info(path).type == fs.FileType.File:
            store.delete_file(path)


def _without_magic(path: str) -> str:
    """Return the folders before the first one with a wildcard; the path itself has none."""
    at = min((path.find(sign) for sign in _MAGIC if sign in path), default=-1)
    return path if at < 0 else path[:at].rpartition("/")[0]


def _files(store: fs.FileSystem, root: str, pattern: str | None) -> list[Any]:
    from pyarrow import fs

    info = store.get_file_info(root)
    if info.type == fs.FileType.File:
        return [info]
    found = store.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    files = [each for each in found if each.type == fs.FileType.File]
    if pattern is not None:
        files = [each for each in files if fnmatch.fnmatchcase(each.path, pattern)]
    return sorted(files, key=lambda each: str(each.path))


def _state(files: list[Any]) -> str:
    facts = [(each.path, each.size, each.mtime_ns) for each in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _fetch(store: fs.FileSystem, files: list[Any], target: Path) -> None:
    """Copy files into a folder that appears whole or not at all."""
    from pyarrow import fs

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetching-"))
    try:
        for each in files:
            file = temporary / each.path
            file.parent.mkdir(parents=True, exist_ok=True)
            fs.copy_files(each.path, str(file), source_filesystem=store)
            os.utime(file, ns=(each.mtime_ns or 0, each.mtime_ns or 0))
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _speaking_of(address: str, what: str, done: str = "fetched") -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{what}: there is nothing at {address}: {_first_line(error)}") from error
    except (OSError, pa.ArrowException) as error:
        raise UnreachableError(
            f"{what}: {address} cannot be {done}: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
