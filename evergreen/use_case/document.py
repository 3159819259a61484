"""A YAML document as plain data that knows where each value was written.

YAML 1.2's core schema: ``off``, ``yes`` and dates are text; keys are always text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from evergreen.errors import InputError
from evergreen.use_case.key_path import KeyPath, show_path

MAX_VALUES = 20_000  # aliases inside aliases can otherwise unfold without end
MAX_DEPTH = 50
SHOWN_MISTAKES = 10

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + kind for kind in ("str", "timestamp", "merge", "value")}
_PLAIN_TAGS = {_TAG + kind for kind in ("int", "float", "bool", "null")}


class Place(NamedTuple):
    """Where a value was written: a file with a line, or the command line."""

    label: str
    line: int | None = None

    def __str__(self) -> str:
        return self.label if self.line is None else f"{self.label}:{self.line}"


class Mistake(NamedTuple):
    """One thing that is wrong, and the path of the key that it is wrong with."""

    path: KeyPath
    text: str


@dataclass
class Document:
    """Plain data, the place of every value, and the mistakes found so far."""

    label: str
    data: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Return where the value at ``path`` was written, or else what encloses it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.label))

    def require(self, further: Iterable[Mistake] = ()) -> None:
        """Raise one `InputError` that lists every mistake, in the order of the file."""
        mistakes = sorted(
            [*self.mistakes, *further], key=lambda mistake: self.place(mistake.path).line or 0
        )
        lines = [
            f"{self.place(path)}  {show_path(path)}{': ' if path else ''}{text}"
            for path, text in mistakes
        ]
        if len(lines) == 1:
            raise InputError(lines[0])
        if lines:
            rest = len(lines) - SHOWN_MISTAKES
            more = [f"… and {rest} more"] if rest > 0 else []
            listed = "\n".join("  " + line for line in lines[:SHOWN_MISTAKES] + more)
            raise InputError(f"{self.label} has {len(lines)} mistakes:\n{listed}")


def parse_yaml(text: str, label: str) -> Document:
    """Read YAML text.

    Raises
    ------
    InputError
        If the text is no YAML document; the message names line and column.
    """
    document = Document(label)
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        if root is not None:
            document.data = _Reader(document).value(root, (), ())
    except RecursionError:
        raise InputError(f"{label}: nested too deeply") from None
    except MarkedYAMLError as error:
        raise InputError(_syntax_message(error, label)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{label}:{line}: not YAML: an unprintable character (code {_code(error.character)})"
        ) from None
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The parser lets a few errors of its own escape on text that is far from YAML.
        raise InputError(f"{label}: not YAML: {error}") from None
    return document


def _code(character: str | int) -> str:
    return hex(character if isinstance(character, int) else ord(character))


def _syntax_message(error: MarkedYAMLError, label: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{label}:{mark.line + 1}, column {mark.column + 1}" if mark else label
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    hint = ""
    if "'\\t'" in problem:
        hint = "; indent with spaces, not tabs"
    elif "that cannot start any token" in problem:
        hint = "; put quotes around text that starts with this character"
    elif "mapping values are not allowed" in problem:
        hint = "; put quotes around text that holds a colon, or mend the indentation"
    return f"{place}: not YAML: {problem}{hint}"


class _Reader:
    """Turns composed nodes into plain data; keeps going after a mistake."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.construct = YAML(typ="safe", pure=True).constructor.construct_object
        self.count = 0

    def value(self, node: Node, path: KeyPath, enclosing: tuple[int, ...]) -> Any:
        """Return a node's plain data; ``enclosing`` holds the nodes that it lies in."""
        self.count += 1
        if self.count > MAX_VALUES or len(enclosing) > MAX_DEPTH or id(node) in enclosing:
            raise InputError(
                f"{self.document.label}: too large for a use case: more than {MAX_VALUES} values, "
                f"nested deeper than {MAX_DEPTH}, or holding itself"
            )
        if path:
            line = node.start_mark.line + 1
            self.document.places.setdefault(path, Place(self.document.label, line))
        enclosing = (*enclosing, id(node))
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path, enclosing)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [
                self.value(item, (*path, index), enclosing) for index, item in enumerate(node.value)
            ]
        return self.scalar(node, path)

    def mapping(self, node: MappingNode, path: KeyPath, enclosing: tuple[int, ...]) -> Any:
        found: dict[str, Any] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self.mistake(path, f"the key in line {line} is a list or a mapping; use text")
                continue
            name = key.value
            here = (*path, name)
            if name in found:
                first = self.document.place(here).line
                self.mistake(
                    here, f"written twice, in lines {first} and {line}; keep one of the two"
                )
                continue
            self.document.places[here] = Place(self.document.label, line)
            found[name] = self.value(child, here, enclosing)
        return found

    def scalar(self, node: Node, path: KeyPath) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _PLAIN_TAGS:
            self.mistake(path, f"the tag {str(node.tag).replace(_TAG, '!!')} has no meaning here")
            return None
        try:
            value = self.construct(node)
        except (ValueError, LookupError, TypeError, AttributeError):
            self.mistake(path, f"{node.value[:40]!r} is not what its tag or its length says")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.mistake(path, f"{node.value} is not allowed; expected a finite number")
            return None
        return value

    def mistake(self, path: KeyPath, text: str) -> None:
        self.document.mistakes.append(Mistake(path, text))
