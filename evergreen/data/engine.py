"""How a table is gone through: read as a whole into memory, or from disk piece by piece."""

from __future__ import annotations

from typing import Literal

from evergreen.values import Value

EngineName = Literal["memory", "external"]
EngineChoice = Literal["auto", EngineName]  # auto: by the table's size


class Engine(Value):
    """The way that all steps of a run go through its table, and why it was chosen."""

    name: EngineName = "memory"
    reason: str = ""

    @property
    def external(self) -> bool:
        """Whether no step may read the table as a whole."""
        return self.name == "external"


IN_MEMORY = Engine()
