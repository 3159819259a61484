"""The command line of API keys: create, list and revoke them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from evergreen.durations import Duration
from evergreen.errors import EvergreenError
from evergreen.paths import Home
from evergreen.serving.keys import SCOPES, Key, KeyRing

T = TypeVar("T")


def default_path() -> Path:
    """Return the file of the keys in the state folder."""
    return Home.locate().root / "serving" / "keys.json"


@click.group()
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file. Default: serving/keys.json in the state folder.",
)
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """Create, list and revoke the API's keys. Running servers see changes within a second."""
    context.obj = _reporting(lambda: KeyRing(path or default_path()))


@main.command()
@click.option("--name", required=True, help="Who or what will use the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("predict",),
    show_default=True,
    help="What it may do; admin includes predict. Can be given twice.",
)
@click.option("--expires", help="When it ends by itself, such as 90d. Default: never.")
@click.pass_obj
def create(ring: KeyRing, name: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make a key and print it: it cannot be shown again."""
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    key, secret = _reporting(lambda: ring.create(name, chosen, _lifetime(expires)))
    until = "" if key.expires is None else f", until {key.expires:%Y-%m-%d %H:%M} UTC"
    click.echo(f"Key {key.id} for {name} ({', '.join(chosen)}{until}). Keep it; it is:", err=True)
    click.echo(secret)


@main.command("list")
@click.pass_obj
def list_keys(ring: KeyRing) -> None:
    """List all keys, without their secrets."""
    keys = _reporting(lambda: ring.keys)
    if not keys:
        click.echo(f"There are no keys in {ring.path}.")
    for key in keys:
        click.echo(f"{key.id}  {_state(key):<12}  {','.join(key.scopes):<13}  {key.name}")


@main.command()
@click.argument("key_id")
@click.pass_obj
def revoke(ring: KeyRing, key_id: str) -> None:
    """Withdraw a key for good."""
    key = _reporting(lambda: ring.revoke(key_id))
    click.echo(f"Key {key.id} ({key.name}) is revoked.")


def _state(key: Key) -> str:
    if key.revoked is not None:
        return "revoked"
    return "holds" if key.holds(datetime.now(UTC)) else "expired"


def _lifetime(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise click.BadParameter("must be like 90d, 6h or 30m", param_hint="--expires") from None


def _reporting(work: Callable[[], T]) -> T:
    try:
        return work()
    except EvergreenError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
