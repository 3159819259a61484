"""MLflow's server with its files in S3: make the bucket if it is not there, then serve."""

import os
import sys
import time

import boto3
from botocore.exceptions import ClientError, EndpointConnectionError

PATIENCE = 60  # seconds for S3 to come up


def make_bucket(name: str) -> None:
    """Create a bucket unless it is there."""
    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.head_bucket(Bucket=name)
        except EndpointConnectionError as error:
            if time.monotonic() > deadline:
                sys.exit(f"S3 does not answer: {error}")
            time.sleep(1)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                sys.exit(f"S3 refuses: {error}")
            client.create_bucket(Bucket=name)
        else:
            return


def main() -> None:
    """Replace this process by the server."""
    bucket = os.environ["BUCKET"]
    make_bucket(bucket)
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]  # noqa: S104
    command += ["--artifacts-destination", f"s3://{bucket}", "--serve-artifacts"]
    os.execvp(command[0], command)  # noqa: S606, S607


if __name__ == "__main__":
    main()
