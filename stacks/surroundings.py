"""What steps find around them: the secrets of a stack file, and the variables of every step."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from zenml.client import Client
from zenml.models import SecretResponse

from stacks.spec import StackSpec


def find_secret(name: str) -> SecretResponse | None:
    """Return a ZenML secret, or None where there is none of that name."""
    try:
        return Client().get_secret(
            name, allow_partial_name_match=False, allow_partial_id_match=False
        )
    except KeyError:
        return None


def lacking_secrets(spec: StackSpec) -> list[str]:
    """Return ``secret.key`` of what neither the environment nor ZenML has."""
    lacking = []
    for name, content in spec.secrets.items():
        wanted = [key for key, value in content.items() if value is None]
        stored = find_secret(name) if wanted else None
        known = stored.secret_values if stored is not None else {}
        lacking += [f"{name}.{key}" for key in wanted if key not in known]
    return lacking


def secret_values(spec: StackSpec, name: str) -> dict[str, str]:
    """Return a secret's values: the environment's, else those that ZenML keeps."""
    content = spec.secrets.get(name, {})
    stored = find_secret(name)
    known = stored.secret_values if stored is not None else {}
    return {**known, **{key: value for key, value in content.items() if value is not None}}


def secret_changes(spec: StackSpec) -> dict[str, dict[str, str]]:
    """Return the values by which each secret differs from ZenML's."""
    changes = {}
    for name, content in spec.secrets.items():
        stored = find_secret(name)
        known = stored.secret_values if stored is not None else {}
        given = {key: value for key, value in content.items() if value is not None}
        different = {key: value for key, value in given.items() if known.get(key) != value}
        if different or stored is None:
            changes[name] = different
    return changes


def apply_secrets(spec: StackSpec) -> None:
    """Create and update the secrets; values that the file does not name stay."""
    for name, values in secret_changes(spec).items():
        if find_secret(name) is None:
            Client().create_secret(name, values)
        else:
            Client().update_secret(name, add_or_update_values=values)


def variable_changes(spec: StackSpec, stack: Any | None) -> dict[str, tuple[Any, Any]]:
    """Return what differs in the variables of every step: name -> (old, new)."""
    old: dict[str, Any] = dict(stack.environment) if stack is not None else {}
    changes: dict[str, tuple[Any, Any]] = {
        f"environment {name}": (old.get(name), spec.environment.get(name))
        for name in sorted({*old, *spec.environment})
        if old.get(name) != spec.environment.get(name)
    }
    before = {Client().get_secret(identity).name for identity in _secrets(stack)}
    if before != set(spec.step_secrets):
        changes["step_secrets"] = (sorted(before), sorted(spec.step_secrets))
    return changes


def apply_variables(spec: StackSpec, stack_id: UUID) -> None:
    """Give a stack the variables and the secrets of every step."""
    client = Client()
    stack = client.get_stack(stack_id)
    if not variable_changes(spec, stack):
        return
    before = {client.get_secret(identity).name for identity in _secrets(stack)}
    # The client merges: a variable goes by the value None.
    gone: dict[str, Any] = dict.fromkeys(set(stack.environment) - set(spec.environment))
    client.update_stack(
        stack_id,
        environment={**gone, **spec.environment},
        add_secrets=sorted(set(spec.step_secrets) - before),
        remove_secrets=sorted(before - set(spec.step_secrets)),
    )


def _secrets(stack: Any | None) -> list[UUID]:
    return list(stack.secrets) if stack is not None else []
