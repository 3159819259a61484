"""Paths of keys, such as ``gate.slices[0].floor`` or ``contract."a.b".unit``."""

from __future__ import annotations

import json
import re

KeyPath = tuple[str | int, ...]

_STEP = re.compile(r"""(?:"([^"]+)"|'([^']+)'|\[(\d{1,9})\]|([^\s.:="'\[\]]+))""")
_PLAIN_KEY = re.compile(r"""[^\s.:="'\[\]]+""")


def show_path(path: KeyPath) -> str:
    """Write a path out; keys that hold dots, spaces or brackets are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) and part.isprintable() else json.dumps(part)
            text += f".{key}" if text else key
    return text


def read_path(text: str, end: str) -> tuple[KeyPath, str] | None:
    """Split a text after the path that it starts with, which ``end`` (one character) closes.

    Returns the path's parts and the rest of the text; None where it starts with no such path.
    """
    path: list[str | int] = []
    position = 0
    while step := _STEP.match(text, position):
        double, single, index, plain = step.groups()
        path.append(int(index) if index is not None else double or single or plain)
        position = step.end()
        if text[position : position + 1] == end:
            return tuple(path), text[position + 1 :]
        position += text[position : position + 1] == "."
    return None
