"""The folder in which an output grows until it is whole.

It lies beside the output, so that renaming is all it takes in the end::

    manifest.json         what the run is made of
    journal.jsonl         a line per kept chunk, and a last one once all are there
    accepted/, rejected/  a file per chunk

A chunk counts once its line is in the journal; its files are on disk by then.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from evergreen.batch.sink import Chunk, Kept, Key
from evergreen.errors import UnreachableError

KINDS: Final = ("accepted", "rejected")
_END: Final = '{"complete":true}'


class Staging:
    """One such folder. A lock keeps other processes out while it is open."""

    def __init__(self, folder: Path, ending: str, lock: Path) -> None:
        self.folder, self._ending = folder, ending
        self._lock = FileLock(lock)

    def acquire(self) -> None:
        """Take the lock; raise `UnreachableError` where another process has it."""
        with written(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                raise UnreachableError(
                    f"Another run writes to {self.folder.parent} under the same name at this "
                    "moment. Wait for it, or end it."
                ) from None

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def read(self) -> tuple[Key | None, Kept]:
        """Return what an earlier run left here, if it can be used."""
        try:
            key = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
            lines = (self.folder / "journal.jsonl").read_bytes().split(b"\n")
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None, Kept()
        chunks: list[Chunk] = []
        for line in lines[:-1]:  # what has no line end was torn off
            if line == _END.encode():
                return key, Kept(chunks=tuple(chunks), complete=True)
            chunks.append(Chunk.model_validate_json(line))
        return key, Kept(chunks=tuple(chunks))

    def begin(self, key: Key) -> None:
        """Start with nothing."""
        with written(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            for kind in KINDS:
                (self.folder / kind).mkdir(parents=True)
            (self.folder / "journal.jsonl").touch()
            temporary = self.folder / "manifest.tmp"
            temporary.write_text(json.dumps(key), encoding="utf-8")
            synced(temporary)
            temporary.replace(self.folder / "manifest.json")
            synced(self.folder)

    def mend(self, kept: Kept) -> None:
        """Remove what no journal line vouches for."""
        with written(self.folder):
            lines = [chunk.model_dump_json() for chunk in kept.chunks]
            journal = self.folder / "journal.jsonl"
            whole = "".join(f"{line}\n" for line in lines)
            if journal.read_text(encoding="utf-8", errors="replace") != whole:
                temporary = journal.with_suffix(".tmp")
                temporary.write_text(whole, encoding="utf-8")
                synced(temporary)
                temporary.replace(journal)
            known = {self.part(kind, n).name for kind in KINDS for n in range(len(kept.chunks))}
            for kind in KINDS:
                for path in (self.folder / kind).iterdir():
                    if path.name not in known:
                        path.unlink()

    def part(self, kind: str, number: int) -> Path:
        """Return the file of a chunk; there is none of a kind without rows."""
        return self.folder / kind / f"part-{number:06d}{self._ending}"

    def parts(self, kind: str, kept: Kept) -> list[Path]:
        """Return the files that are there, in order."""
        paths = (self.part(kind, number) for number in range(len(kept.chunks)))
        return [path for path in paths if path.exists()]

    def keep(self, temporary: list[tuple[str, Path]], number: int, chunk: Chunk) -> None:
        """Name a chunk's synced files, and write down that it is there."""
        with written(self.folder):
            for kind, path in temporary:
                path.replace(self.part(kind, number))
                synced(self.folder / kind)
            self._note(chunk.model_dump_json())

    def complete(self) -> None:
        """Write down that there are no further chunks."""
        with written(self.folder):
            self._note(_END)

    def _note(self, line: str) -> None:
        with (self.folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
            journal.write(f"{line}\n")
            journal.flush()
            os.fsync(journal.fileno())

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def synced(path: Path) -> None:
    """Make sure that a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say what cannot be written, and that what was kept stays.

    Raises
    ------
    UnreachableError
        Instead of every `OSError` of the block.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnreachableError(
            f"Cannot write {path}: {reason}. The chunks that were kept stay; mend that and run the "
            "same command again to go on."
        ) from error


def replace_folder(new: Path, target: Path) -> None:
    """Put a folder in the place of another one; a crash in between leaves ``new`` whole."""
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.is_dir():
        target.rename(aside)
    elif target.exists():
        target.unlink()
    new.rename(target)
    synced(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def fingerprint(path: Path) -> list[Any] | None:
    """Return what tells an output from one that was changed; None where there is none."""
    if path.is_dir():
        found = sorted(path.rglob("*"))
        return [[str(one.relative_to(path)), one.stat().st_size] for one in found if one.is_file()]
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
