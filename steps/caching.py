"""When a step may be served from the cache.

ZenML's key covers a step's own code, its parameters and its inputs. Steps here are thin, so the
key also covers the core's code and the libraries that models depend on.
"""

from __future__ import annotations

from zenml.config.cache_policy import CachePolicy

from evergreen.provenance import code_fingerprint


def core_fingerprint() -> str:
    """Return the fingerprint of the code that steps call."""
    return code_fingerprint()


CACHED = CachePolicy(cache_func=core_fingerprint)
