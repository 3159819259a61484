"""Parquet and CSV: a file, or a folder with a file per chunk."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from evergreen.batch.scoring import Scored
from evergreen.batch.settings import CsvOutput, ParquetOutput
from evergreen.batch.sink import Chunk, Kept, Key, difference
from evergreen.batch.staging import Staging, fingerprint, replace_folder, synced, written
from evergreen.errors import InputError

COMPRESSION: Final = "zstd"


class FileSink:
    """Collects chunks in a `Staging` folder beside the output.

    Parameters
    ----------
    target, rejected
        Paths. Those of folders are told by ``as_folder``, which holds for both.
    records
        Folder of notes on finished outputs, by which an equal run finds nothing to do.
    """

    def __init__(
        self,
        output: ParquetOutput | CsvOutput,
        rejected: str | None,
        schemas: tuple[pa.Schema, pa.Schema],
        records: Path,
    ) -> None:
        self._csv = isinstance(output, CsvOutput)
        self._folder = output.path.endswith("/")
        ending = ".csv" if self._csv else ".parquet"
        self.target = Path(output.path)
        self.rejected = Path(beside(str(self.target), ending) if rejected is None else rejected)
        self.address, self.rejected_address = str(self.target), str(self.rejected)
        self._schemas = dict(zip(("accepted", "rejected"), schemas, strict=True))
        name = hashlib.sha256(str(self.target.absolute()).encode()).hexdigest()[:16]
        self._record = records / f"{name}.json"
        folder = self.target.with_name(f".{self.target.name}.batch")
        self._staging = Staging(folder, ending, records / f"{name}.lock")
        self._key: Key = {}

    def open(self, key: Key, *, overwrite: bool) -> tuple[Kept, str | None]:
        """Make ready; see `evergreen.batch.sink.Sink`."""
        self._key = key
        self._require_place()
        self._staging.acquire()
        former, kept = self._staging.read()
        if former == key and kept.complete:
            return kept, None
        if former is None and (done := self._done(key)) is not None:
            return done, None
        if not overwrite:
            for path in (self.target, self.rejected):
                if path.exists():
                    raise InputError(
                        f"The output {path} is there already, from another run. Name another one, "
                        "or replace it: --overwrite"
                    )
        if former == key:
            self._staging.mend(kept)
            return kept, None
        self._staging.begin(key)
        if former is None:
            return Kept(), None
        changed = difference(former, key)
        return (
            Kept(),
            f"Started over: the {changed} changed since {rows_of(kept)} rows were scored.",
        )

    def restart(self, key: Key) -> None:
        """Forget the chunks that were kept."""
        self._staging.begin(key)

    def encode(self, number: int, scored: Scored) -> list[tuple[str, Path]]:
        """Write a chunk's files under temporary names."""
        found = []
        tables = {"accepted": scored.accepted, "rejected": scored.rejected}
        with written(self._staging.folder):
            for kind, table in tables.items():
                if table.num_rows:
                    path = self._staging.part(kind, number).with_suffix(".tmp")
                    self._write(table, path)
                    synced(path)
                    found.append((kind, path))
        return found

    def keep(self, number: int, encoded: list[tuple[str, Path]], chunk: Chunk) -> None:
        """Keep the next chunk."""
        self._staging.keep(encoded, number, chunk)

    def finish(self, kept: Kept) -> None:
        """Let refused rows appear, then the output, and remember what it was made of."""
        if not self._staging.folder.is_dir():
            return  # a finished run that had nothing to do
        with written(self.target):
            if not kept.complete:
                self._staging.complete()
            for kind, target in (("rejected", self.rejected), ("accepted", self.target)):
                if (self._staging.folder / kind).is_dir():  # else its renaming came through
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._appear(kind, self._staging.parts(kind, kept), target)
            self._remember(kept)
        self._staging.remove()

    def close(self) -> None:
        """Let others write to the same place."""
        self._staging.release()

    def _require_place(self) -> None:
        for path in (self.target, self.rejected):
            if path.is_dir() and not self._folder:
                raise InputError(
                    f"The output {path} is a folder; end its path in / to have a file per chunk, "
                    "or name a file."
                )
        if self.target == self.rejected:
            raise InputError(f"batch.rejected is the output itself: {self.target}")

    def _write(self, table: pa.Table, path: Path) -> None:
        if self._csv:
            options = arrow_csv.WriteOptions(include_header=self._folder)
            arrow_csv.write_csv(flat(table), path, options)
            return
        with self._parquet(path, table.schema) as writer:
            writer.write_table(table)

    @staticmethod
    def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
        # Probabilities hardly repeat: a dictionary of them would be built in vain.
        repeating = [one.name for one in schema if not pa.types.is_floating(one.type)]
        repeating = ["flags.list.element" if name == "flags" else name for name in repeating]
        return pq.ParquetWriter(path, schema, compression=COMPRESSION, use_dictionary=repeating)

    def _appear(self, kind: str, parts: Sequence[Path], target: Path) -> None:
        """Put the parts of one kind where they are looked for."""
        if not parts and kind == "rejected":
            if target.is_dir():  # that of an earlier run
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            return
        if self._folder:
            if not parts:
                self._write(self._schemas[kind].empty_table(), self._staging.part(kind, 0))
            replace_folder(self._staging.folder / kind, target)
            return
        temporary = self._staging.folder / f"{kind}.tmp"
        if self._csv:
            self._join_csv(parts, self._schemas[kind], temporary)
        else:
            with self._parquet(temporary, self._schemas[kind]) as writer:
                for part in parts:
                    with pq.ParquetFile(part) as file:
                        for group in range(file.num_row_groups):
                            writer.write_table(file.read_row_group(group))
        synced(temporary)
        temporary.replace(target)
        synced(target.parent)

    @staticmethod
    def _join_csv(parts: Sequence[Path], schema: pa.Schema, temporary: Path) -> None:
        header = io.BytesIO()
        arrow_csv.write_csv(flat(schema.empty_table()), header)
        with temporary.open("wb") as file:
            file.write(header.getvalue())
            for part in parts:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, file, 1 << 20)

    def _done(self, key: Key) -> Kept | None:
        """Return what an equal run has finished, if it is there as that run left it."""
        try:
            note: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        equal = note["key"] == key and key.get("proven")
        there = fingerprint(self.target) is not None and note["output"] == fingerprint(self.target)
        return Kept.model_validate(note["kept"]) if equal and there else None

    def _remember(self, kept: Kept) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._record.with_suffix(".tmp")
        output = fingerprint(self.target)
        done = kept.model_copy(update={"complete": True}).model_dump(mode="json")
        note = {"address": self.address, "key": self._key, "output": output, "kept": done}
        temporary.write_text(json.dumps(note), encoding="utf-8")
        temporary.replace(self._record)


def flat(table: pa.Table) -> pa.Table:
    """Return the table with its lists as text, parted by semicolons."""
    for at, one in enumerate(table.schema):
        if pa.types.is_list(one.type):
            text = pc.binary_join(table.column(at).cast(pa.list_(pa.string())), ";")
            table = table.set_column(at, one.name, text)
    return table


def beside(target: str, ending: str) -> str:
    """Return where refused rows go by default."""
    folder, slash, name = target.rstrip("/").rpartition("/")
    suffix = Path(name).suffix
    return f"{folder}{slash}{name.removesuffix(ending)}.rejected{suffix}"


def rows_of(kept: Kept) -> str:
    """Say how many rows were kept."""
    return f"{sum(chunk.rows for chunk in kept.chunks):,}"
