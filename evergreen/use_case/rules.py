"""What the parts of a valid use case ask of each other: expressions, parameters, gate rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evergreen.config import UseCase
from evergreen.errors import InputError
from evergreen.use_case.document import Mistake
from evergreen.use_case.key_path import read_path


def rule_mistakes(use_case: UseCase) -> list[Mistake]:
    """Find what cannot be read, set or judged: expressions, parameters, gate rules."""
    return [
        *_expression_mistakes(use_case),
        *_parameter_mistakes(use_case),
        *_gate_mistakes(use_case),
        *_reference_mistakes(use_case),
    ]


def _expression_mistakes(use_case: UseCase) -> Iterator[Mistake]:
    from evergreen.expressions import parse, parse_derived

    derive = use_case.features.derive
    readable = True
    for name, text in derive.items():
        try:
            parse(text)
        except InputError as error:
            readable = False
            yield Mistake(("features", "derive", name), str(error))
    if readable:
        try:
            parse_derived(derive)
        except InputError as error:
            yield _located(error)


def _parameter_mistakes(use_case: UseCase) -> Iterator[Mistake]:
    from evergreen.training.candidates import candidates_for

    for name, config in use_case.training.candidates.items():
        alone = use_case.training.model_copy(update={"candidates": {name: config}})
        try:
            candidates_for(use_case.task, alone)
        except InputError as error:
            yield _located(error)


def _gate_mistakes(use_case: UseCase) -> Iterator[Mistake]:
    from evergreen.promotion.gate import check_gate

    try:
        check_gate(use_case.gate, use_case.task, use_case.evaluation)
    except InputError as error:
        yield _located(error)


def _reference_mistakes(use_case: UseCase) -> Iterator[Mistake]:
    """Refuse references outside the source: orchestrators would resolve and store them."""
    for path, text in _texts(use_case.model_dump(mode="json"), ()):
        if "${" in text:
            yield Mistake(
                path,
                "refers to the environment; only sources, outputs, alerts and serving.log.url may",
            )


def _texts(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(str(key), (*path, key))
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))


def _located(error: InputError) -> Mistake:
    """Split a message at the path that it starts with."""
    found = read_path(str(error), ":")
    return Mistake(found[0], found[1].strip()) if found else Mistake((), str(error))
