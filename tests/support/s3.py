"""An S3 server (moto's) as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.support.postgres import free_port
from tests.support.server_process import wait_until_it_answers

PATIENCE = 120.0  # on a busy machine
KEYS = ("ada", "engine-number-one")


@dataclass(frozen=True)
class S3:
    """A running server; it takes any keys."""

    url: str

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
            region_name="us-east-1",
        )

    def make_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def environment(self) -> dict[str, str]:
        """Return what a client of it needs in its environment."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def running_s3(folder: Path, host: str = "127.0.0.1") -> Iterator[S3]:
    """Run a server that listens at ``host`` until the block ends; its log is in ``folder``."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    log = folder / "s3.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--host", host, "--port", str(port)], stdout=output, stderr=output
        )
    server = S3(f"http://{host}:{port}")
    try:
        wait_until_it_answers(process, f"{server.url}/moto-api/", log, PATIENCE)
        yield server
    finally:
        process.kill()
        process.wait()
