"""Dask's client, without what a failed one leaves behind. Import it late: it is heavy."""

from __future__ import annotations

from typing import Any

from distributed import Client


class TidyClient(Client):
    """A client that is closed where it cannot connect.

    Dask leaves that to the garbage collector. If this comes by while another client starts, in the
    same thread, closing waits for a lock that starting holds (`distributed.utils.LoopRunner`).
    """

    def start(self, **kwargs: Any) -> None:
        """Connect to the scheduler."""
        try:
            super().start(**kwargs)
        except BaseException:
            self.close()
            raise
