"""Outputs in object stores: made as files here, then uploaded, each whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from evergreen.batch.files import FileSink, beside
from evergreen.batch.scoring import Scored
from evergreen.batch.settings import CsvOutput, ParquetOutput
from evergreen.batch.sink import Chunk, Kept, Key
from evergreen.errors import InputError
from evergreen.object_stores import exists, is_remote, remove, upload

KEY: Final = "batch.output"


class RemoteSink:
    """Collects chunks in a `FileSink` below ``records``, and uploads what that makes.

    Raises
    ------
    InputError
        If the output is a folder, or only one of output and refused rows is in a store.
    """

    def __init__(
        self,
        output: ParquetOutput | CsvOutput,
        rejected: str | None,
        schemas: tuple[pa.Schema, pa.Schema],
        records: Path,
    ) -> None:
        ending = ".csv" if isinstance(output, CsvOutput) else ".parquet"
        self.address = output.path
        self.rejected_address = beside(output.path, ending) if rejected is None else rejected
        if output.path.endswith("/"):
            raise InputError(f"{KEY}: {output.path} is a folder; in an object store, name a file.")
        if not is_remote(self.rejected_address):
            raise InputError(f"batch.rejected: name a file of an object store, as {KEY} is one.")
        mark = hashlib.sha256(output.path.encode()).hexdigest()[:16]
        self._file = records / "uploads" / mark / f"output{ending}"
        local = output.model_copy(update={"path": str(self._file)})
        self._files = FileSink(local, None, schemas, records)

    def open(self, key: Key, *, overwrite: bool) -> tuple[Kept, str | None]:
        """Make ready; see `evergreen.batch.sink.Sink`."""
        kept, note = self._files.open(key, overwrite=True)
        if not kept.complete and not overwrite:
            for address in (self.address, self.rejected_address):
                if exists(address, KEY):
                    raise InputError(
                        f"The output {address} is there already, from another run. Name another "
                        "one, or replace it: --overwrite"
                    )
        return kept, note

    def restart(self, key: Key) -> None:
        """Forget the chunks that were kept."""
        self._files.restart(key)

    def encode(self, number: int, scored: Scored) -> Any:
        """Prepare a chunk for `keep`."""
        return self._files.encode(number, scored)

    def keep(self, number: int, encoded: Any, chunk: Chunk) -> None:
        """Keep the next chunk."""
        self._files.keep(number, encoded, chunk)

    def finish(self, kept: Kept) -> None:
        """Let the output appear, after the refused rows."""
        self._files.finish(kept)
        if kept.complete and exists(self.address, KEY):
            return  # uploaded by the run that made it
        if self._files.rejected.is_file():
            upload(self._files.rejected, self.rejected_address, KEY)
        else:
            remove(self.rejected_address, KEY)  # that of an earlier run
        upload(self._files.target, self.address, KEY)

    def close(self) -> None:
        """Let others write to the same place."""
        self._files.close()
