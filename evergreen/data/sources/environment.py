"""References to environment variables, and the care that their values never show.

A value such as ``${DB_PASSWORD}`` is resolved at the moment of reading and forgotten afterwards.
What other libraries say goes through `Environment.hide` before anybody sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from urllib.parse import quote, quote_plus

from evergreen.errors import InputError

# ``${NAME}`` is what users write, ``$(NAME)`` what `source_config` keeps.
_REFERENCE = re.compile(r"\$\{([^}]*)\}?|\$\(([^)]*)\)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USERINFO_PASSWORD = re.compile(r"(://[^:/@\s]*):[^\s]*@")
_TOKEN_USERINFO = re.compile(r"((?:https?|nats|tls)://)[^/@\s]+@")
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:pass|pwd|secret|token|key|auth|sig|credential)[^=&\s]*=)[^&#\s]*",
    re.IGNORECASE,
)
HIDDEN = "***"
SHORTEST_HIDDEN = 3  # hiding shorter values would only garble messages


class Environment:
    """Resolves references from ``variables`` and remembers which values must be hidden."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._secrets: set[str] = set()

    def resolve(self, text: str, key: str, encode: Callable[[str], str] = str) -> str:
        """Return ``text`` with every ``${NAME}`` replaced by the variable's value.

        Parameters
        ----------
        text
            May hold any number of references.
        key
            The setting's path in the use case, for messages (``data.source.url``).
        encode
            Applied to each value, such as percent-encoding inside an address.

        Raises
        ------
        InputError
            A variable is not set or empty, or a reference is malformed.
        """

        def value_of(match: re.Match[str]) -> str:
            name = match[1] if match[2] is None else match[2]
            if not match.group().endswith(("}", ")")) or not _NAME.fullmatch(name):
                raise InputError(
                    f"{key} holds a malformed reference; write ${{NAME}} with the name of an "
                    "environment variable (letters, digits, underscores)"
                )
            value = self._variables.get(name)
            if not value:
                raise InputError(self._not_set(name, key, empty=value == ""))
            self.remember(value)
            return encode(value)

        return _REFERENCE.sub(value_of, text)

    def resolve_url(self, text: str, key: str) -> str:
        """Resolve references in an address, percent-encoding those in user info and query.

        A variable's value is taken as it is: a password may hold ``@``, ``/`` or ``%``.
        """
        userinfo, at, rest = text.rpartition("@")
        place, question, query = rest.partition("?")
        return (
            self.resolve(userinfo, key, _encoded)
            + at
            + self.resolve(place, key)
            + question
            + self.resolve(query, key, _encoded)
        )

    def remember(self, value: str) -> None:
        """Let `hide` hide ``value`` from now on."""
        if len(value) >= SHORTEST_HIDDEN:
            self._secrets.add(value)

    def hide(self, text: str) -> str:
        """Return ``text`` with every secret value, also in encoded form, replaced by ``***``."""
        # The longest first, so that a value inside another leaves no remainder.
        for value in sorted(self._secrets, key=len, reverse=True):
            for form in (value, repr(value)[1:-1], quote(value, safe=""), quote_plus(value)):
                text = text.replace(form, HIDDEN)
        return mask_url(text)

    def _not_set(self, name: str, key: str, *, empty: bool) -> str:
        near = get_close_matches(name, self._variables, n=1, cutoff=0.8)
        hint = f" (did you mean ${{{near[0]}}}?)" if near and near[0] != name else ""
        state = "is empty" if empty else "is not set"
        return f"The environment variable {name} {state}; {key} refers to it{hint}"


def mask_url(text: str) -> str:
    """Return ``text`` with passwords and secret-looking parameters of addresses hidden."""
    masked = _USERINFO_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    masked = _TOKEN_USERINFO.sub(rf"\1{HIDDEN}@", masked)  # there a user alone may be a token
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", masked)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of the variables that ``text`` refers to."""
    return tuple(match[1] or match[2] for match in _REFERENCE.finditer(text))


def _encoded(value: str) -> str:
    return quote(value, safe="")
