"""Write a release's notes from CHANGELOG.md: ``python -m deploy.release_notes v1.2.0``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evergreen.errors import EvergreenError, ExitCode, InputError

ROOT: Final = Path(__file__).resolve().parents[1]


def notes(version: str, changelog: str) -> str:
    """Return the section of a version, without its title.

    Raises
    ------
    InputError
        If there is none, it is empty, or it says that the version is yet to be released.
    """
    number = version.removeprefix("v")
    title = re.search(rf"^## \[{re.escape(number)}\] - (.+)$", changelog, re.MULTILINE)
    if not number or title is None:
        raise InputError(f"CHANGELOG.md has no section '## [{number}] - DATE'.")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", title[1].strip()):
        raise InputError(f"CHANGELOG.md gives {number} no date, but {title[1]!r}.")
    section = re.split(r"^## ", changelog[title.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not section:
        raise InputError(f"CHANGELOG.md says nothing of {number}.")
    return f"{section}\n"


def main(arguments: Sequence[str]) -> int:
    """Write build/release/notes.md and return the exit code."""
    try:
        text = notes("".join(arguments), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    folder = ROOT / "build" / "release"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.md").write_text(text, encoding="utf-8")
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
