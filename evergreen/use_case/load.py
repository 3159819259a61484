"""From a path to a validated use case."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evergreen.alerts.settings import FileTarget
from evergreen.batch.settings import CsvOutput, Output, ParquetOutput, SqlOutput
from evergreen.config import UseCase
from evergreen.data.source_config import CsvSource, NatsSource, ParquetSource, Source, SqlSource
from evergreen.errors import InputError
from evergreen.object_stores import is_remote
from evergreen.use_case.document import Document, Mistake, parse_yaml
from evergreen.use_case.mistakes import boolean_mistakes, mistakes_of
from evergreen.use_case.names import name_mistakes
from evergreen.use_case.overrides import apply_overrides
from evergreen.use_case.rules import rule_mistakes
from evergreen.use_case.wording import show_value

CONFIGS = Path("configs")
GUIDE = "docs/guide.md"
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?![/:]|file:|\$\(|$)(.+)")
_LARGEST_FILE = 2**20


def load_use_case(path: str | Path, overrides: Sequence[str] = ()) -> UseCase:
    """Read a use case file.

    Parameters
    ----------
    path
        A YAML file, or the bare name of one in ``configs/`` (``wine``).
    overrides
        ``key.path=value`` texts, see `evergreen.use_case.overrides.apply_overrides`.

    Returns
    -------
    UseCase
        Without a ``name``, the file's name stands in. Relative paths in ``data.source`` are
        made absolute: those of the file from its folder, those of overrides from the working
        directory. References to environment variables stay references.

    Raises
    ------
    InputError
        If the file cannot be read or is no valid use case. One message lists every mistake.
    """
    file = _find(path)
    document = parse_yaml(_read_text(file), _label(file))
    if document.data is None and not overrides:
        raise InputError(
            f"{document.label}: the file is empty. A use case needs at least task and data "
            f"(source, target): see {GUIDE}"
        )
    apply_overrides(document, overrides)
    document.require()
    if not isinstance(document.data, dict):
        raise InputError(
            f"{document.label}: the top level is {show_value(document.data)}; expected a mapping "
            f"with at least task and data (source, target): see {GUIDE}"
        )
    return _anchor(_validate(document, file), document, file)


def _validate(document: Document, file: Path) -> UseCase:
    data: dict[str, Any] = document.data
    named = "name" in data
    written = data if named else {"name": file.stem, **data}
    mistakes = [*boolean_mistakes(data), *name_mistakes(data)]
    try:
        use_case = UseCase.model_validate(written)
    except ValidationError as error:
        mistakes += mistakes_of(error, written)
        if not named:
            mistakes = [_unnamed(file) if m.path == ("name",) else m for m in mistakes]
        document.require(mistakes)
        raise  # not reached: every validation error is a mistake
    document.require(mistakes or rule_mistakes(use_case))
    return use_case


def _unnamed(file: Path) -> Mistake:
    usable = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_")[:50]
    example = f"name: {usable}" if usable[:1].isalpha() else f"name: model_{usable}".rstrip("_")
    return Mistake(
        ("name",),
        f"is missing, and the file's name {file.stem!r} cannot stand in: a name has lower-case "
        f"letters, digits and underscores only, such as '{example}'",
    )


def _find(path: str | Path) -> Path:
    """Return the file that is meant; a bare name means a file in ``configs/``."""
    file = _expand_user(path)
    bare = file.name == str(path) and not file.suffix
    if bare and not file.is_file():
        file = next((f for f in _shipped() if f.stem == file.name), file)
    if file.is_dir():
        raise InputError(f"{path} is a folder; expected a use case file{_known(path)}")
    if not file.is_file():
        raise InputError(f"{path}: there is no such use case file{_known(path)}")
    return file


def _expand_user(path: str | Path) -> Path:
    """Expand ``~``; pathlib's own way fails where the user is unknown."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _shipped() -> list[Path]:
    """Return the use case files in the working directory's ``configs/``, else the project's."""
    for folder in (CONFIGS, Path(__file__).resolve().parents[2] / CONFIGS):
        if files := sorted(folder.glob("*.yaml")):
            return files
    return []


def _known(path: str | Path) -> str:
    names = {file.stem: str(file) for file in _shipped()}
    near = get_close_matches(Path(path).stem.lower(), names, n=1)
    hint = f"; did you mean {names[near[0]]}?" if near else "."
    return f"{hint} Existing: {', '.join(names.values())}" if names else ""


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{_label(file)}: larger than 1 MiB; a use case file is a short text")
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{_label(file)}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x}); "
            "save the file as UTF-8"
        ) from None


def _label(file: Path) -> str:
    """Name a file as briefly as the working directory allows."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def _anchor(use_case: UseCase, document: Document, file: Path) -> UseCase:
    """Make the paths of sources and outputs absolute."""

    def folder(*keys: str) -> Path:
        written = [document.place((*keys, "path")), document.place(keys)]
        return Path.cwd() if any(p.label == "--set" for p in written) else file.resolve().parent

    use_case = _with_names(use_case)
    data, batch = use_case.data, use_case.batch
    data = data.model_copy(update={"source": _anchored(data.source, folder("data", "source"))})
    changed: dict[str, Any] = {}
    if batch.source is not None:
        changed["source"] = _anchored(batch.source, folder("batch", "source"))
    if batch.output is not None:
        changed["output"] = _anchored(batch.output, folder("batch", "output"))
        if batch.rejected is not None and not isinstance(batch.output, SqlOutput):
            changed["rejected"] = _absolute(batch.rejected, folder("batch", "rejected"))
    batch, monitoring = batch.model_copy(update=changed), use_case.monitoring
    if monitoring.source is not None:
        window = _anchored(monitoring.source, folder("monitoring", "source"))
        monitoring = monitoring.model_copy(update={"source": window})
    parts: dict[str, Any] = {"data": data, "batch": batch, "monitoring": monitoring}
    targets = {
        name: target.model_copy(
            update={"path": _absolute(target.path, folder("alerts", "targets", name))}
        )
        for name, target in use_case.alerts.targets.items()
        if isinstance(target, FileTarget) and target.path is not None
    }
    if targets:
        every = {**use_case.alerts.targets, **targets}
        parts["alerts"] = use_case.alerts.model_copy(update={"targets": every})
    return use_case.model_copy(update=parts)


def _with_names(use_case: UseCase) -> UseCase:
    """Name the rows that are kept of streams after the use case, apart for each of its sources."""
    parts: dict[str, Any] = {}
    for key, name in (("data", ""), ("batch", "-batch"), ("monitoring", "-monitoring")):
        part = getattr(use_case, key)
        if isinstance(part.source, NatsSource) and part.source.name is None:
            source = part.source.model_copy(update={"name": use_case.name + name})
            parts[key] = part.model_copy(update={"source": source})
    return use_case.model_copy(update=parts) if parts else use_case


def _anchored(place: Source | Output, folder: Path) -> Source | Output:
    match place:
        case CsvSource(path=path) | ParquetSource(path=path):
            if "://" in path or path.startswith("$("):
                return place
            return place.model_copy(update={"path": os.path.normpath(folder / _expand_user(path))})
        case CsvOutput(path=path) | ParquetOutput(path=path):
            return place.model_copy(update={"path": _absolute(path, folder)})
        case SqlSource(url=url) | SqlOutput(url=url) if found := _SQLITE_FILE.fullmatch(url):
            absolute = os.path.normpath(folder / _expand_user(found[2]))
            return place.model_copy(update={"url": found[1] + absolute})
    return place


def _absolute(path: str, folder: Path) -> str:
    """Return an absolute path; the slash that means a folder stays, and so does an address."""
    if is_remote(path):
        return path
    return os.path.normpath(folder / _expand_user(path)) + "/" * path.endswith("/")
