"""Registries of real bundles, what a training does to them, and ways of breaking a bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.promotion.bundle import MANIFEST
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.serving.traffic import TAG, TrafficPlan


class Store:
    """A store of a test's own, and what a training does to it."""

    def __init__(self, uri: str, experiment: str, log: Path, locks: Path) -> None:
        self.uri = uri
        self.registry = Registry(uri, PromotionLog(f"sqlite:///{log}"), locks)
        self.client = self.registry.client
        self.run = self.client.create_run(experiment).info.run_id

    def add(self, bundle, alias: str | None = "champion", name: str = "boats") -> str:
        version = self.registry.register(name, bundle, self.run)
        if alias is not None:
            self.client.set_registered_model_alias(name, alias, version)
        return version

    def direct(self, plan: TrafficPlan | str | None) -> None:
        """Put a traffic plan in force, or a text in its place; None for none."""
        if plan is None:
            self.client.delete_registered_model_tag("boats", TAG)
            return
        text = plan if isinstance(plan, str) else plan.model_dump_json()
        self.client.set_registered_model_tag("boats", TAG, text)

    def files(self, version: str) -> Path:
        source = self.client.get_model_version("boats", version).source
        return Path(source.removeprefix("file://"))


def actions(registry: Registry, name: str = "boats") -> list[str]:
    """Return what was done with a model, the oldest first; intents are left out."""
    found = [entry.action for entry in reversed(registry.log.entries(name))]
    return [action for action in found if action != "intent"]


def corrupt(folder):
    (folder / "contract.json").write_bytes((folder / "contract.json").read_bytes() + b" ")


def wrong_checksum(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["card.md"] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))


def golden_mismatch(folder):
    path = folder / "golden.parquet"
    table = pq.read_table(path)
    name = "evergreen.probability.calm"
    turned = pa.array([1 - value for value in table[name].to_pylist()])
    table = table.set_column(table.schema.get_field_index(name), name, turned)
    pq.write_table(table.replace_schema_metadata(pq.read_schema(path).metadata), path)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["golden.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


BROKEN = {
    "a corrupt file": (corrupt, "damaged: contract.json is not the file that was written"),
    "a wrong checksum": (wrong_checksum, "damaged: card.md is not the file that was written"),
    "a missing file": (lambda f: (f / "profile.json").unlink(), "profile.json is missing"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "it has no manifest.json"),
    "a torn manifest": (lambda f: (f / MANIFEST).write_text("{"), "manifest.json is no JSON"),
    "other answers": (golden_mismatch, "does not give the answers that it gave at training"),
    "nothing at all": (shutil.rmtree, "The bundle is missing"),
}
