"""How the core's values travel between steps.

Each has a content hash, so that a step is served from the cache whenever what goes into it is
the same, whichever run made it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

from sklearn.base import BaseEstimator
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer
from zenml.metadata.metadata_types import MetadataType

from evergreen.batch.parts import ScoredPart
from evergreen.data.dataset import Dataset
from evergreen.monitoring.parts import CountedPart
from evergreen.promotion.bundle import Bundle, open_bundle
from evergreen.promotion.serialization import load_model, save_model

_TABLE: Final = "table.parquet"


class _FileMaterializer(BaseMaterializer):
    """Shares how files come from and go to the artifact store."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    def _local(self, name: str) -> Path:
        """Return a local path of the stored file, copied only where the store is remote."""
        stored = Path(self.uri) / name
        if stored.exists():
            return stored
        return self._download(f"{self.uri}/{name}", self._own_folder() / name)

    def _own_folder(self) -> Path:
        """Return a folder that goes when the step has ended, or, outside of steps, the process."""
        with self.get_temporary_directory(delete_at_exit=False) as folder:
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return Path(folder)

    def _download(self, source: str, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.artifact_store.open(source, "rb") as remote, target.open("wb") as file:
            while chunk := remote.read(1 << 20):
                file.write(chunk)
        return target

    def _linked(self, source: Path, name: str) -> bool:
        """Give the file a second name in the artifact store, where both are on one disk.

        Stored tables are never written to again: a new one takes the name of an old one.
        """
        if not self.artifact_store.config.is_local:
            return False
        target = Path(self.uri) / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
        except OSError:
            return False
        return True

    def _upload(self, source: Path, name: str) -> None:
        target = f"{self.uri}/{name}"
        self.artifact_store.makedirs(target.rsplit("/", 1)[0])
        with source.open("rb") as file, self.artifact_store.open(target, "wb") as remote:
            while chunk := file.read(1 << 20):
                remote.write(chunk)


class DatasetMaterializer(_FileMaterializer):
    """A table: a Parquet file, or several, read lazily."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Dataset,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> Dataset:
        """Open the table without reading its rows."""
        if (stored := Path(self.uri) / _TABLE).exists():
            return Dataset.open(stored)
        copy = Dataset.open(self._download(f"{self.uri}/{_TABLE}", self._own_folder() / _TABLE))
        for name, file in copy.files(_TABLE).items():
            if file != copy.path:
                self._download(f"{self.uri}/{name}", file)
        return copy

    def save(self, data: Dataset) -> None:
        """Put the files into the artifact store; on the same disk they are not copied."""
        for name, file in data.files(_TABLE).items():
            if not self._linked(file, name):
                self._upload(file, name)

    def extract_metadata(self, data: Dataset) -> dict[str, MetadataType]:
        """Show in the dashboard what the table is."""
        return {
            "rows": data.rows,
            "columns": len(data.columns),
            "fingerprint": data.fingerprint,
            "source": data.source,
            "engine": data.engine.name,
        }

    def compute_content_hash(self, data: Dataset) -> str:
        """Return the table's fingerprint, and the engine where results may differ by it."""
        return data.fingerprint + ("" if data.engine.name == "memory" else data.engine.name)


class ModelMaterializer(_FileMaterializer):
    """A scikit-learn pipeline in skops format: loading it runs no code of the file's."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (BaseEstimator,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> BaseEstimator:
        """Load the pipeline."""
        return load_model(self._local("model.skops"))

    def save(self, data: BaseEstimator) -> None:
        """Write the pipeline."""
        with tempfile.TemporaryDirectory(prefix="evergreen-") as folder:
            path = Path(folder) / "model.skops"
            save_model(data, path)
            self._upload(path, "model.skops")


class BundleMaterializer(_FileMaterializer):
    """A bundle: a folder of files with a manifest."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Bundle,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> Bundle:
        """Open the bundle and verify its checksums."""
        stored = Path(self.uri) / "bundle"
        if stored.exists():
            return open_bundle(stored)
        folder = self._own_folder() / "bundle"
        for place, _, names in self.artifact_store.walk(f"{self.uri}/bundle"):
            relative = str(place).removeprefix(f"{self.uri}/bundle").lstrip("/")
            for name in names:
                file = str(name)
                self._download(f"{place!s}/{file}", folder / relative / file)
        return open_bundle(folder)

    def save(self, data: Bundle) -> None:
        """Copy the folder into the artifact store."""
        for path in sorted(data.folder.rglob("*")):
            if path.is_file():
                self._upload(path, f"bundle/{path.relative_to(data.folder).as_posix()}")

    def compute_content_hash(self, data: Bundle) -> str:
        """Return the hash of the manifest, which holds the hash of every file."""
        return hashlib.sha256((data.folder / "manifest.json").read_bytes()).hexdigest()


class PartMaterializer(_FileMaterializer):
    """A part of a table, scored or counted: a folder of files."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (ScoredPart, CountedPart)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> ScoredPart | CountedPart:
        """Return the part, copied only where the store is remote."""
        kind: type[ScoredPart | CountedPart] = data_type
        stored = Path(self.uri)
        if stored.exists():
            return kind(stored)
        folder = self._own_folder()
        for name in self.artifact_store.listdir(self.uri):
            self._download(f"{self.uri}/{name!s}", folder / str(name))
        return kind(folder)

    def save(self, data: ScoredPart | CountedPart) -> None:
        """Copy the files into the artifact store."""
        for path in sorted(data.folder.iterdir()):
            self._upload(path, path.name)
