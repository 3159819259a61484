"""API keys: random, kept as hashes, with scopes, a lifetime and a way to withdraw them.

``python -m evergreen.serving.keys create --name shop`` prints a key once; what is kept is its
SHA-256. (A slow hash protects passwords that can be guessed; 256 random bits cannot.) Running
servers see changes within a second. Rotating is: create a second key, change over, revoke the
first. Every change is written down in ``admin.log``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.problems import Problem
from evergreen.serving.security import presented_key, unauthenticated
from evergreen.values import Value

Scope = Literal["predict", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("predict", "admin")
LOOK_AGAIN: Final = 1.0  # seconds after which the file is looked at again
_KEY: Final = re.compile(r"eg_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")

logger = logging.getLogger(__name__)


class Key(Value):
    """One key, without the key: ``id`` is its public part, which logs may show."""

    id: str
    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Tell whether the key may be used."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class _Keys(Value):
    keys: tuple[Key, ...] = ()


def key_of(secret: str, name: str, scopes: tuple[Scope, ...]) -> Key:
    """Return what is kept of a key that something else keeps.

    Raises
    ------
    InputError
        If it is no key.
    """
    written = _KEY.fullmatch(secret)
    if written is None:
        raise InputError("This is no API key: eg_, 8 hexadecimal digits, _, 43 characters.")
    now = datetime.now(UTC)
    return Key(id=written[1], name=name, sha256=_digest(secret), scopes=scopes, created=now)


class KeyRing:
    """The keys in one file, which need not exist yet, and those that the server was given.

    Raises
    ------
    InputError
        If the file is damaged.
    UnreachableError
        If it cannot be read.
    """

    def __init__(self, path: Path, given: tuple[Key, ...] = ()) -> None:
        self.path = path
        self._given = {key.id: key for key in given}
        self._by_id: Mapping[str, Key] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._look()

    # --- for servers -----------------------------------------------------------------------

    def admit(self, headers: dict[bytes, bytes], scope: str) -> Key:
        """Return the key that a request presents.

        Raises
        ------
        Problem
            If there is none that holds, or it lacks the scope. ``admin`` includes ``predict``.
        """
        presented = presented_key(headers)
        if presented is None:
            raise unauthenticated("Send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        key = self.find(presented)
        if key is None:
            raise unauthenticated("This key is unknown, has expired or was revoked.")
        if scope not in key.scopes and "admin" not in key.scopes:
            raise Problem("forbidden", f"The key {key.id} lacks the scope {scope!r}.")
        return key

    def find(self, presented: str) -> Key | None:
        """Return the key that holds, or None."""
        self._refresh()
        written = _KEY.fullmatch(presented)
        if written is None:
            return None
        key = self._given.get(written[1]) or self._by_id.get(written[1])
        digest = _digest(presented)
        # Compared also where there is no such id, so that the time taken tells nothing.
        equal = hmac.compare_digest(digest, key.sha256 if key is not None else "0" * 64)
        return key if equal and key is not None and key.holds(datetime.now(UTC)) else None

    def __len__(self) -> int:
        """Return how many keys hold."""
        self._refresh()
        now = datetime.now(UTC)
        return sum(key.holds(now) for key in {**self._by_id, **self._given}.values())

    # --- for administrators ----------------------------------------------------------------

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, the oldest first."""
        self._look()
        return tuple(sorted(self._by_id.values(), key=lambda key: key.created))

    def create(
        self, name: str, scopes: tuple[Scope, ...] = ("predict",), lifetime: timedelta | None = None
    ) -> tuple[Key, str]:
        """Make a key; return what is kept of it, and the key itself, which nobody can read again.

        Raises
        ------
        UnreachableError
            If the file cannot be written.
        """
        with self._changing() as keys:
            number = secrets.token_hex(4)
            while number in keys:
                number = secrets.token_hex(4)
            secret = f"eg_{number}_{secrets.token_urlsafe(32)}"
            now = datetime.now(UTC)
            key = Key(
                id=number,
                name=name,
                sha256=_digest(secret),
                scopes=scopes,
                created=now,
                expires=None if lifetime is None else now + lifetime,
            )
            keys[number] = key
        self._log("created", key)
        return key, secret

    def revoke(self, number: str) -> Key:
        """Withdraw a key for good.

        Raises
        ------
        InputError
            If there is no key with this id.
        UnreachableError
            If the file cannot be written.
        """
        with self._changing() as keys:
            if number not in keys:
                known = ", ".join(keys) or "none"
                raise InputError(f"There is no key {number!r} in {self.path}; there are: {known}.")
            key = keys[number]
            if key.revoked is None:
                key = key.model_copy(update={"revoked": datetime.now(UTC)})
                keys[number] = key
        self._log("revoked", key)
        return key

    # --- inside ----------------------------------------------------------------------------

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        try:
            self._look()
        except (InputError, UnreachableError) as error:
            # The keys that were read last go on holding; nobody is let in by a damaged file.
            logger.warning("%s The keys stay as they were.", error)

    def _look(self) -> None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._by_id, self._stamp = {}, None
            return
        except OSError as error:
            raise UnreachableError(f"Cannot read {self.path}: {error.strerror}.") from error
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._by_id = {key.id: key for key in _read(self.path).keys}
            self._stamp = stamp

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """Yield the keys to change; write them whole or not at all, one process at a time."""
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                self._look()
                keys = dict(self._by_id)
                yield keys
                content = _Keys(keys=tuple(keys.values())).model_dump_json(indent=1)
                descriptor, temporary = tempfile.mkstemp(dir=self.path.parent)  # mode 0600
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(content + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
                self._look()
        except OSError as error:
            raise UnreachableError(f"Cannot write {self.path}: {error.strerror}.") from error

    def _log(self, what: str, key: Key) -> None:
        user = os.environ.get("USER") or str(os.getuid())
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "action": f"key {what}",
            "key": key.id,
            "name": key.name,
            "scopes": key.scopes,
            "by": user,
        }
        log = self.path.with_name("admin.log")
        try:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UnreachableError(
                f"The key was {what}, but {log} cannot be written: {error.strerror}."
            ) from error


def _digest(presented: str) -> str:
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> _Keys:
    try:
        return _Keys.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UnreachableError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is no key file (it is damaged, or of another version). Restore it from a "
            "backup, or delete it and create keys anew."
        ) from error


if __name__ == "__main__":
    from evergreen.serving.keys_command import main

    main()
