"""Redaction: columns whose values the prediction log must not keep as they are."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from evergreen.errors import UnreachableError

Rule = Literal["hash", "drop"]
MARK: Final = "hash"  # a hashed value is {"hash": "…"}, which no column's value looks like


class Redaction:
    """Drops columns, or replaces their values by a keyed hash (HMAC-SHA-256, RFC 2104).

    Equal values have equal hashes, so that they can be counted and joined. The key keeps anybody
    who sees the log alone from trying out all postcodes. A missing value stays missing.
    """

    def __init__(self, rules: Mapping[str, Rule], key: bytes = b"") -> None:
        self._dropped = tuple(name for name, rule in rules.items() if rule == "drop")
        self._hashed = tuple(name for name, rule in rules.items() if rule == "hash")
        self._key = key
        if self._hashed and len(key) < 16:
            raise ValueError("hashing needs a key of at least 16 bytes")

    def __bool__(self) -> bool:
        return bool(self._dropped or self._hashed)

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of one row's inputs that may be kept."""
        kept = dict(inputs)
        for name in self._dropped:
            kept.pop(name, None)
        for name in self._hashed:
            if kept.get(name) is not None:
                kept[name] = {MARK: self._hash(name, kept[name])}
        return kept

    def _hash(self, name: str, value: Any) -> str:
        # The column's name is part of it: equal values of two columns must not look equal.
        message = f"{name}\0{value!r}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:32]


def redaction_key(path: Path) -> bytes:
    """Return the key in a file, which is made (for its owner's eyes) where there is none.

    Raises
    ------
    UnreachableError
        If it can neither be read nor made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        if not path.exists():
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_hex(32), encoding="ascii")
            try:
                os.link(temporary, path)  # of two processes, the first one wins
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        key = path.read_text(encoding="ascii").strip().encode()
    except (OSError, ValueError) as error:
        raise UnreachableError(f"The redaction key {path} cannot be used: {error}") from error
    if len(key) < 16:
        raise UnreachableError(
            f"The redaction key {path} is damaged: it is too short. Restore it; or delete it, "
            "and hashes made from now on differ from earlier ones."
        )
    return key
