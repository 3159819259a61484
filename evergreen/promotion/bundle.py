"""The bundle: a folder with all that a model needs in order to be served, watched and explained.

It is a folder in MLflow's model format with further files beside ``MLmodel``::

    MLmodel, model.skops, requirements.txt, code/…   what MLflow's own servers read
    contract.json     what every column promises
    profile.json      what table and predictions looked like: the reference of drift checks
    golden.parquet    up to 50 rows with the answers that the model gave
    metrics.json      the figures on the holdout, with intervals
    card.md           the model card
    model.onnx        the same model as a graph that is served fast; only where it answers alike
    parity.json       how the answers of the two compare; not where there is no graph to compare
    manifest.json     what this is, and the SHA-256 of every other file

so that a bundle and the artifacts of a registered version are the same folder. Files that the
manifest does not name (caches, notes that a download adds) are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import ValidationError

from evergreen.config import Choice
from evergreen.data.contract import Contract
from evergreen.errors import InputError, UnreachableError
from evergreen.monitoring.profile import Profile
from evergreen.promotion.golden import TOLERANCE, Replay, answers, compare, golden_inputs
from evergreen.promotion.graph_part import MODEL_ONNX, PARITY, write_graph
from evergreen.promotion.parity import Parity
from evergreen.provenance import Environment
from evergreen.training.results import Interval, PredictionInterval
from evergreen.values import Value

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
PARTS: Final = ("MLmodel", "model.skops", "contract.json", "profile.json", "golden.parquet")
PARTS_TO_READ: Final = ("metrics.json", "card.md")

V = TypeVar("V", bound=Value)


class Origin(Value):
    """What a model was made from."""

    candidate: str
    title: str
    params: Mapping[str, Choice]
    training_key: str
    data_fingerprint: str
    data_source: str
    rows: int  # that the model was fitted on


class Manifest(Value):
    """What a bundle is, and the SHA-256 (hex) of every file, by its path inside the folder."""

    format: int = FORMAT
    use_case: str
    origin: Origin
    created: datetime
    environment: Environment
    runtime: Literal["native", "onnx"] = "native"
    runtime_reason: str | None = None  # why it is native
    files: Mapping[str, str]


class Figures(Value):
    """The figures on the holdout: ``metric`` is the one that training looked at."""

    metric: str
    rows: int
    confidence: float
    metrics: Mapping[str, Interval]
    prediction_interval: PredictionInterval | None = None  # of a regression


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; its parts are read when they are asked for."""

    folder: Path
    manifest: Manifest

    @property
    def training_key(self) -> str:
        """The key of the training that made the model, see `evergreen.provenance`."""
        return self.manifest.origin.training_key

    @cached_property
    def contract(self) -> Contract:
        """What every column promises."""
        return read_value(Contract, self.folder / "contract.json")

    @cached_property
    def profile(self) -> Profile:
        """The reference distributions."""
        return read_value(Profile, self.folder / "profile.json")

    @cached_property
    def figures(self) -> Figures:
        """The figures on the holdout."""
        return read_value(Figures, self.folder / "metrics.json")

    @cached_property
    def golden(self) -> pd.DataFrame:
        """The golden rows: a model frame with answers, see `evergreen.promotion.golden`."""
        from evergreen.data.dataset import Dataset

        return Dataset.open(self.folder / "golden.parquet").read()

    @cached_property
    def parity(self) -> Parity | None:
        """How the graph's answers compare with the model's; None where there is no graph."""
        if PARITY not in self.manifest.files:
            return None
        return read_value(Parity, self.folder / PARITY)

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        return (self.folder / "card.md").read_text(encoding="utf-8")

    def model(self) -> Any:
        """Load the fitted scikit-learn pipeline; see `load_model` for what it raises."""
        from evergreen.promotion.serialization import load_model

        return load_model(self.folder / "model.skops")

    def replay(self, model: Any = None, tolerance: float = TOLERANCE) -> Replay:
        """Predict the golden rows anew and compare; ``model`` saves loading it once more."""
        model = self.model() if model is None else model
        found = answers(model, golden_inputs(self.golden, self.contract))
        return compare(self.golden, found, self.contract, tolerance)


def write_bundle(
    folder: Path | str,
    *,
    model: Any,
    contract: Contract,
    profile: Profile,
    figures: Figures,
    card: str,
    inputs: pd.DataFrame,
    origin: Origin,
    environment: Environment,
    created: datetime | None = None,
) -> Bundle:
    """Write a bundle, which appears whole or not at all.

    ``inputs`` is a model frame (see `evergreen.data.conform.model_frame`) from which golden rows
    and MLflow's input example are taken, and on which the model is compared with its graph: best
    of rows that the model was not fitted on.

    Raises
    ------
    InputError
        If there is a bundle in ``folder`` already, there are no ``inputs``, or the model cannot be
        saved or does not answer alike once it is loaded again.
    UnreachableError
        If the folder cannot be written.
    """
    from evergreen.data.dataset import Dataset
    from evergreen.promotion.golden import make_golden
    from evergreen.promotion.mlflow_model import save_mlflow_model

    if inputs.empty:
        raise InputError("A bundle needs rows to take golden ones from; there are none.")
    with _appearing_whole(Path(folder).absolute()) as temporary:
        _saving(lambda: save_mlflow_model(model, temporary, contract, inputs))
        Dataset.write(make_golden(model, inputs), temporary / "golden.parquet", "golden rows")
        (temporary / "contract.json").write_text(contract.model_dump_json(indent=1), "utf-8")
        (temporary / "profile.json").write_text(profile.model_dump_json(), "utf-8")
        (temporary / "metrics.json").write_text(figures.model_dump_json(indent=1), "utf-8")
        (temporary / "card.md").write_text(card, encoding="utf-8")
        reason = write_graph(temporary, model, contract, inputs)
        manifest = Manifest(
            use_case=contract.use_case,
            origin=origin,
            created=created or datetime.now(UTC),
            environment=environment,
            runtime="native" if reason else "onnx",
            runtime_reason=reason,
            files={name: _sha256(temporary / name) for name in _files(temporary)},
        )
        (temporary / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        replay = Bundle(temporary, manifest).replay()
        if not replay.passed:
            raise InputError(f"The model cannot be bundled. {replay.message}")
    return Bundle(Path(folder).absolute(), manifest)


def open_bundle(folder: Path | str, title: str | None = None) -> Bundle:
    """Return the bundle in a folder, after comparing every file with its checksum.

    ``title`` is what messages call it, instead of the folder.

    Raises
    ------
    InputError
        If the folder is no bundle, has another format, lacks a file, or a file is damaged.
    UnreachableError
        If a file cannot be read.
    """
    folder = Path(folder).absolute()
    title = title or f"The bundle {folder}"
    manifest = _read_manifest(folder, title)
    graph = (MODEL_ONNX,) if manifest.runtime == "onnx" else ()
    for part in (*PARTS, *PARTS_TO_READ, *graph):
        if part not in manifest.files:
            raise InputError(f"{title} is incomplete: its manifest lacks {part}.")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{title} names a file outside of itself: {name}.")
        if not path.is_file():
            raise InputError(f"{title} is incomplete: {name} is missing.")
        if _sha256(path) != expected:
            raise InputError(
                f"{title} is damaged: {name} is not the file that was written (its SHA-256 "
                "differs). Fetch it again, or train anew."
            )
    return Bundle(folder, manifest)


def _read_manifest(folder: Path, title: str) -> Manifest:
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{title} is none: it has no {MANIFEST}.") from None
    except OSError as error:
        raise UnreachableError(f"Cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{title} is damaged: {MANIFEST} is no JSON.") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{title} has format {found!r}; this version reads format {FORMAT}. Use the version "
            "that wrote it, or train again."
        )
    return read_value(Manifest, path, text)


def read_value(kind: type[V], path: Path, text: str | None = None) -> V:
    """Read a part of a bundle; raise `InputError` where it is another version's."""
    try:
        return kind.model_validate_json(path.read_bytes() if text is None else text)
    except OSError as error:
        raise UnreachableError(f"Cannot read {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is not what this version reads: {where}: {first['msg']}. "
            "Use the version that wrote it, or train again."
        ) from error


def _saving(save: Callable[[], None]) -> None:
    """Run MLflow's saving; what it says of the model's types becomes one message."""
    from mlflow.exceptions import MlflowException

    try:
        save()
    except MlflowException as error:
        raise InputError(f"The model cannot be saved: {error.message}") from error


def _files(folder: Path) -> list[str]:
    """Return the paths of the files in a folder, in order."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreachableError(f"Cannot read {path}: {error.strerror or error}") from error


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that takes its place when the block succeeds."""
    if folder.exists():
        raise InputError(f"There is something at {folder} already; a bundle is never overwritten.")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnreachableError(
            f"Cannot write the bundle {folder}: {reason}. Nothing was kept of it; free some space, "
            "or move the state folder with EVERGREEN_HOME"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
