"""The part of this package that loading a model and predicting with it imports.

A bundle holds it, so that MLflow's own servers need nothing installed; a tenth of the files takes a
tenth of the time to register, which sends them one by one.
"""

from __future__ import annotations

import modulefinder
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "evergreen"
_ROOT: Final = Path(__file__).resolve().parents[2]


class _OwnModules(modulefinder.ModuleFinder):
    """Follows the imports of this package's modules, and no other's."""

    def import_module(self, partname: str, fqname: str, parent: Any) -> Any:
        if fqname.partition(".")[0] != PACKAGE:
            return None
        return super().import_module(partname, fqname, parent)


def copy_code(types: Iterable[str], folder: Path) -> Path:
    """Copy the modules of some types, and all that they import of this package.

    Parameters
    ----------
    types : qualified names; those of other packages are left out.
    folder : an existing folder, in which ``evergreen`` is made.

    Returns
    -------
    The package's folder.
    """
    finder = _OwnModules(path=[str(_ROOT)])
    for module in sorted({name.rpartition(".")[0] for name in types}):
        if module.partition(".")[0] == PACKAGE:
            finder.import_hook(module)
    for found in finder.modules.values():
        source = Path(str(found.__file__))  # type: ignore[attr-defined]
        target = folder / source.relative_to(_ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return folder / PACKAGE
