"""Make ZenML match a stack file: create what is missing, change what differs, nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from zenml.client import Client
from zenml.enums import StackComponentType
from zenml.models import ComponentResponse, StackUpdate

from evergreen.errors import InputError
from stacks.alerter import FileAlerterFlavor
from stacks.spec import ComponentSpec, StackSpec
from stacks.surroundings import apply_secrets, apply_variables, secret_changes, variable_changes

OWN_FLAVORS = {
    (StackComponentType.ALERTER, FileAlerterFlavor().name): "stacks.alerter.FileAlerterFlavor",
    # By its name: its module needs the packages of requirements/kubernetes.txt.
    (
        StackComponentType.ORCHESTRATOR,
        "evergreen_kubernetes",
    ): "stacks.kubernetes_orchestrator.PatientKubernetesFlavor",
}
# Flavors of ours need the packages of these integrations of ZenML.
_INTEGRATIONS = {"evergreen_kubernetes": "kubernetes"}

# Integration: packages that it is pinned to an old version of, and works with a newer one.
WORKS_WITH = {"seldon": ("kubernetes",)}


@dataclass(frozen=True)
class Change:
    """One difference between the file and ZenML: ``+`` to create, ``~`` to change."""

    mark: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what}{': ' + self.detail if self.detail else ''}"


def plan(spec: StackSpec) -> list[Change]:
    """Return what `apply` would do, in order; empty where ZenML already matches.

    Raises
    ------
    InputError
        If a component kind or a flavor is unknown, or its packages are not installed.
    """
    changes = [
        Change("~", f"secret {name!r}", ", ".join(f"{key} -> ***" for key in values) or "empty")
        for name, values in secret_changes(spec).items()
    ]
    for kind, component in spec.components.items():
        registered = _component(kind, component.name)
        label = f"{kind} {component.name!r}"
        if registered is None:
            _check(kind, component)
            changes.append(Change("+", label, f"flavor {component.flavor}"))
        elif registered.flavor_name != component.flavor:
            raise InputError(
                f"{label} exists with flavor {registered.flavor_name!r}, the file says "
                f"{component.flavor!r}. Rename it in the file, or delete the old one: "
                f"zenml {kind.replace('_', '-')} delete {component.name}"
            )
        else:
            changes += [
                Change("~", f"{label} {key}", f"{_shown(key, old)} -> {_shown(key, new)}")
                for key, (old, new) in _config_differences(registered, component).items()
            ]
    return changes + _stack_changes(spec)


def apply(spec: StackSpec) -> list[Change]:
    """Carry out `plan` and return what was done. Safe to repeat, also after being cut off."""
    changes = plan(spec)
    client = Client()
    apply_secrets(spec)
    for kind, component in spec.components.items():
        try:
            _apply_component(client, kind, component)
        except ValueError as error:  # what ZenML, by pydantic, says of settings
            raise InputError(f"{kind} {component.name!r}: {_reasons(error)}") from None
    members = {kind: component.name for kind, component in spec.components.items()}
    stack = _stack(spec.name)
    if stack is None:
        stack = client.create_stack(
            spec.name, {StackComponentType(k): n for k, n in members.items()}
        )
    elif _stack_changes(spec):
        # The client's own update cannot take a component out of a stack; the store can.
        ids = {StackComponentType(k): [_required(k, n).id] for k, n in members.items()}
        client.zen_store.update_stack(stack.id, StackUpdate(components=ids))
    apply_variables(spec, stack.id)
    return changes


def _apply_component(client: Client, kind: str, component: ComponentSpec) -> None:
    registered = _component(kind, component.name)
    if registered is None:
        _register_own_flavor(kind, component.flavor)
        client.create_stack_component(
            name=component.name,
            flavor=component.flavor,
            component_type=StackComponentType(kind),
            configuration=component.config,
        )
    elif differences := _config_differences(registered, component):
        client.update_stack_component(
            component.name,
            StackComponentType(kind),
            configuration={key: new for key, (_, new) in differences.items()},
        )


def _reasons(error: ValueError) -> str:
    """Return what is wrong with settings, without the values, which may be secret."""
    if isinstance(error, ValidationError):
        return "; ".join(
            ": ".join([*map(str, mistake["loc"]), mistake["msg"]]) for mistake in error.errors()
        )
    return str(error)


def _check(kind: str, component: ComponentSpec) -> None:
    """Make sure that ZenML can register a component before anything is registered."""
    from zenml.integrations.registry import integration_registry

    kinds = {kind.value for kind in StackComponentType}
    if kind not in kinds:
        raise InputError(f"{kind}: no such component kind. Known: {', '.join(sorted(kinds))}")
    if (StackComponentType(kind), component.flavor) in OWN_FLAVORS:
        integration = _INTEGRATIONS.get(component.flavor)
    else:
        try:
            flavor = Client().get_flavor_by_name_and_type(
                component.flavor, StackComponentType(kind)
            )
        except KeyError:
            raise InputError(
                f"{kind} {component.name!r}: ZenML knows no flavor {component.flavor!r}. "
                f"List them: zenml {kind.replace('_', '-')} flavor list"
            ) from None
        integration = flavor.integration
    if integration and integration != "built-in":
        wanted = integration_registry.select_integration_requirements(integration)
        known = WORKS_WITH.get(integration, ())
        missing = [name for name in wanted if not _installed(name, known)]
        if missing:
            raise InputError(
                f"{kind} {component.name!r} needs packages that are not installed: "
                f"{', '.join(missing)}. Mend it: make install-kubernetes, or pip install -r "
                "requirements.txt -r requirements/kubernetes.txt"
            )


def _installed(requirement: str, any_version: Collection[str] = ()) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    if parsed.marker is not None and not parsed.marker.evaluate():
        return True
    try:
        found = version(parsed.name)
        return parsed.name in any_version or parsed.specifier.contains(found, prereleases=True)
    except PackageNotFoundError:
        return False


def _register_own_flavor(kind: str, flavor: str) -> None:
    source = OWN_FLAVORS.get((StackComponentType(kind), flavor))
    if source is None:
        return
    try:
        Client().get_flavor_by_name_and_type(flavor, StackComponentType(kind))
    except KeyError:
        Client().create_flavor(source, StackComponentType(kind))


def _component(kind: str, name: str) -> ComponentResponse | None:
    if kind not in {each.value for each in StackComponentType}:
        return None
    try:
        return Client().get_stack_component(
            StackComponentType(kind), name, allow_name_prefix_match=False
        )
    except KeyError:
        return None


def _required(kind: str, name: str) -> ComponentResponse:
    component = _component(kind, name)
    if component is None:
        raise InputError(f"{kind} {name!r} vanished while the stack was applied; apply it again")
    return component


def _config_differences(
    registered: ComponentResponse, component: ComponentSpec
) -> dict[str, tuple[Any, Any]]:
    """Key: (old, new) of what differs; new is None for keys that the file does not have."""
    old, new = registered.configuration, component.config
    return {
        key: (old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    }


def _shown(key: str, value: Any) -> Any:
    secret = any(word in key for word in ("password", "token", "secret", "key"))
    return "***" if secret and value is not None else value


def _stack(name: str) -> Any:
    try:
        return Client().get_stack(name, allow_name_prefix_match=False)
    except KeyError:
        return None


def _stack_changes(spec: StackSpec) -> list[Change]:
    stack = _stack(spec.name)
    if stack is None:
        return [Change("+", f"stack {spec.name!r}", ", ".join(spec.components))]
    old = {kind.value: parts[0].name for kind, parts in stack.components.items()}
    new = {kind: component.name for kind, component in spec.components.items()}
    return [
        Change("~", f"stack {spec.name!r} {kind}", f"{old.get(kind)} -> {new.get(kind)}")
        for kind in sorted({*old, *new})
        if old.get(kind) != new.get(kind)
    ] + [
        Change("~", f"stack {spec.name!r} {what}", f"{before} -> {after}")
        for what, (before, after) in variable_changes(spec, stack).items()
    ]
