"""How a table is gone through: as a whole in memory, or from disk, by one process or by many."""

from __future__ import annotations

from typing import Literal

from evergreen.values import Value

EngineName = Literal["memory", "external", "dask"]
EngineChoice = Literal["auto", EngineName]  # auto: by the table's size


class Engine(Value):
    """The way that all steps of a run go through its table, and why it was chosen."""

    name: EngineName = "memory"
    reason: str = ""

    @property
    def external(self) -> bool:
        """Whether no step may read the table as a whole; with ``dask``, too, it stays on disk."""
        return self.name != "memory"

    @property
    def exceeds_memory(self) -> bool:
        """Whether tables are held to exceed all memory: stored for size, read by little at once."""
        return self.name == "external"


IN_MEMORY = Engine()
