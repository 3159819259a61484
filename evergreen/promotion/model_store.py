"""Reading the registry: versions of models in one MLflow store, and their bundles."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.data.contract import Contract
from evergreen.errors import InputError
from evergreen.promotion import plan_tag, versions
from evergreen.promotion.bundle import Bundle, open_bundle, read_value
from evergreen.promotion.registration import CHAMPION, RegisteredModel
from evergreen.promotion.store import mlflow_errors, open_client, require_reachable, shown
from evergreen.serving.traffic import TrafficPlan
from evergreen.use_case.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ModelStore:
    """The registered models of one MLflow store, as they are; nothing is changed.

    Every method raises `UnreachableError`, naming the address, where the store does not answer.

    Parameters
    ----------
    tracking_uri
        MLflow's address: ``http(s)://``, ``sqlite:///`` or ``postgresql+psycopg://``.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        return open_client(self.tracking_uri)

    def names(self) -> list[str]:
        """Return the names of all registered models."""
        with self.opened() as client:
            return versions.names(client)

    def champion(self, name: str) -> RegisteredModel | None:
        """Return the version that serves, or None where there is none yet."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> RegisteredModel | None:
        """Return the version that an alias points to, or None."""
        with self.opened() as client:
            version = versions.aliases(client, name).get(alias)
            return None if version is None else versions.get(client, name, version)

    def version(self, name: str, version: str | int) -> RegisteredModel:
        """Return one version.

        Raises
        ------
        InputError
            If there is no such version.
        """
        with self.opened() as client:
            return self.required(client, name, str(version))

    def fetch_bundle(self, name: str, version: str | int, folder: Path | str) -> Bundle:
        """Download the bundle of a version (or alias) into ``folder``, and verify it.

        Raises
        ------
        InputError
            If there is no such version or alias, or its bundle is damaged or missing.
        UnreachableError
            If its files cannot be fetched.
        """
        target = Path(folder).absolute()
        with self.opened() as client:
            number = versions.aliases(client, name).get(str(version), str(version))
            model = self.required(client, name, number)
            if target.exists():
                raise InputError(f"Cannot fetch a bundle into {target}: it exists already.")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                fetched = versions.download(self.tracking_uri, model, temporary)
                title = f"The bundle of version {number} of {name!r} ({model.bundle_uri})"
                open_bundle(fetched, title)
                fetched.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return open_bundle(target)

    def contract(self, name: str, version: str) -> Contract:
        """Return the contract of a version. Raises as `fetch_bundle` does."""
        with self.opened() as client, tempfile.TemporaryDirectory() as folder:
            model = self.required(client, name, version)
            file = versions.download_contract(self.tracking_uri, model, Path(folder))
            return read_value(Contract, file)

    def traffic(self, name: str) -> TrafficPlan | None:
        """Return the traffic plan in force; one of a version that is not challenger is none.

        Raises
        ------
        InputError
            If what is written down is no plan.
        """
        with self.opened() as client:
            return plan_tag.in_force(client, name)

    # --- for those who decide ------------------------------------------------------------------

    def require_known(self, name: str) -> None:
        """Raise `InputError` where no model has this name."""
        with self.opened() as client:
            known = versions.names(client)
        if name not in known:
            raise InputError(
                f"No model {name!r} is registered at {shown(self.tracking_uri)}"
                f"{did_you_mean(name, known) or '.'} There are: {', '.join(known) or 'none'}."
            )

    def required(self, client: MlflowClient, name: str, version: str) -> RegisteredModel:
        """Return a version; raise `InputError` where there is none of this number."""
        found = versions.get(client, name, version)
        if found is None:
            every = ", ".join(versions.numbers(client, name)) or "none"
            raise InputError(
                f"{name!r} has no version or alias {version!r} in the registry at "
                f"{shown(self.tracking_uri)}; there are: {every}."
            )
        return found

    @contextmanager
    def opened(self) -> Iterator[MlflowClient]:
        """Yield the store's client; inside the block, MLflow's errors are raised as ours."""
        require_reachable(self.tracking_uri)
        client = self.client
        with mlflow_errors(self.tracking_uri):
            yield client
