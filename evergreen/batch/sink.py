"""Where scored chunks go: what files and databases have in common.

A sink keeps whole chunks, each once and in order, with a record of what was kept. Whoever comes
after a crash learns from it which chunks are there, and goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from evergreen.batch.scoring import Scored
from evergreen.values import Value

Key = Mapping[str, Any]  # what a run is made of, by part: source, model, settings


class Chunk(Value):
    """One kept chunk: its rows (with the refused ones), and what tells its content from another."""

    rows: int
    rejected: int
    flagged: int
    digest: str | None = None


class Kept(Value):
    """What an earlier run left: its chunks, and whether they are all there are."""

    chunks: tuple[Chunk, ...] = ()
    complete: bool = False


class Chunks(Protocol):
    """Takes scored chunks as they come."""

    def encode(self, number: int, scored: Scored) -> Any:
        """Prepare a chunk for `keep`; called in several threads."""

    def keep(self, number: int, encoded: Any, chunk: Chunk) -> None:
        """Keep the next chunk, wholly or not at all."""


class Sink(Chunks, Protocol):
    """Takes scored chunks, and makes the output of them.

    All methods raise `UnreachableError` where the disk is full or the database does not answer.
    """

    address: str  # of the output, without a password
    rejected_address: str

    def open(self, key: Key, *, overwrite: bool) -> tuple[Kept, str | None]:
        """Make ready; return what is there of an equal run, and what else there was, in words.

        Raises
        ------
        InputError
            If the output is there, from another run, and is not to be overwritten.
        """

    def restart(self, key: Key) -> None:
        """Forget the chunks that were kept."""

    def finish(self, kept: Kept) -> None:
        """Let the output appear, as a whole; what was begun before is finished."""

    def close(self) -> None:
        """Let go of what is held. What was kept stays."""


def difference(former: Key, present: Key) -> str:
    """Say which part of a run is another one now."""
    changed = [name for name in present if former.get(name) != present[name]]
    return " and ".join(filter(None, [", ".join(changed[:-1]), *changed[-1:]]))
