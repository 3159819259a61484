"""Keeping the files of steps that ended well, whatever happens next.

ZenML deletes the files of a step at anything that is raised until it has gone on, so also where the
run is interrupted just after the step was recorded as completed. The next run would take that step
from the cache, and not find its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MARK: Final = "keeps_published"


def keep_published() -> None:
    """Let ZenML delete only files that it has not recorded as an artifact."""
    from zenml.orchestrators import output_utils

    remove = output_utils.remove_artifact_dirs
    if hasattr(remove, _MARK):
        return

    def remove_unpublished(artifact_uris: Sequence[str]) -> None:
        remove([uri for uri in artifact_uris if not _is_published(uri)])

    setattr(remove_unpublished, _MARK, True)
    output_utils.remove_artifact_dirs = remove_unpublished


def _is_published(uri: str) -> bool:
    from zenml.client import Client

    try:
        return bool(Client().list_artifact_versions(uri=f"equals:{uri}", size=1).total)
    except Exception:  # while the server is away; files that nobody knows do no harm
        return True
