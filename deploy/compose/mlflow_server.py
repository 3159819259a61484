"""MLflow's server with its figures in PostgreSQL and its files in S3: wait for both, then serve."""

import os
import sys
import time
from collections.abc import Callable

import boto3
import psycopg
from botocore.exceptions import ClientError, EndpointConnectionError

PATIENCE = 120  # seconds for the others to come up


def wait_for(what: str, answers: Callable[[], object], absent: type[Exception]) -> None:
    """Return once ``answers`` raises ``absent`` no more; end the process where it goes on."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answers()
        except absent as error:
            if time.monotonic() > deadline:
                sys.exit(f"{what} does not answer: {error}")
            time.sleep(1)
        else:
            return


def make_bucket(name: str) -> None:
    """Create a bucket unless it is there."""
    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            sys.exit(f"S3 refuses the bucket {name}: {error}")
        client.create_bucket(Bucket=name)


def main() -> None:
    """Replace this process by the server."""
    bucket = os.environ["BUCKET"]
    database = os.environ["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg:", ":")
    wait_for(
        "PostgreSQL", lambda: psycopg.connect(database).close(), absent=psycopg.OperationalError
    )
    wait_for("S3", lambda: make_bucket(bucket), absent=EndpointConnectionError)
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"]  # noqa: S104
    command += ["--artifacts-destination", f"s3://{bucket}", "--serve-artifacts"]
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
