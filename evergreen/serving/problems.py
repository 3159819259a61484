"""What is wrong with a request, as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

MEDIA_TYPE: Final = b"application/problem+json"
MAX_ERRORS: Final = 50  # further ones are counted, not listed
TYPES: Final = {
    "malformed-body": (400, "The body cannot be read"),
    "unauthenticated": (401, "An API key is needed"),
    "forbidden": (403, "The API key does not allow this"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "Another method is needed"),
    "body-too-large": (413, "The body is too large"),
    "request-timeout": (408, "The body did not arrive in time"),
    "unsupported-media-type": (415, "The content type is not understood"),
    "invalid-input": (422, "The input breaks the contract"),
    "no-answer": (422, "The model has no answer to this input"),
    "not-explainable": (422, "The prediction cannot be explained"),
    "rate-limited": (429, "Too many requests"),
    "internal": (500, "The server made a mistake"),
    "not-ready": (503, "The server cannot answer at the moment"),
}


class FieldError(msgspec.Struct, omit_defaults=True, frozen=True):
    """One value that was refused: ``row`` counts from 0, in requests with many rows."""

    field: str
    message: str
    allowed: str | None = None
    row: int | None = None


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: Sequence[FieldError] = ()
    more_errors: int = 0
    # What clients of the Open Inference Protocol and of MLflow look for (extension members).
    error: str | None = None
    error_code: str | None = None
    message: str | None = None


class Problem(Exception):  # noqa: N818  (the standard's word)
    """Ends a request with problem details; ``kind`` is a key of `TYPES`."""

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = TYPES[kind]
        self.detail = detail
        self.errors = errors
        self.headers = headers

    def body(self, request_id: str | None = None, path: str = "") -> bytes:
        """Return the JSON; ``request_id`` finds the request in the logs."""
        inference, mlflow = path.startswith("/v2"), path == "/invocations"
        return msgspec.json.encode(
            ProblemDetails(
                type=f"urn:evergreen:problem:{self.kind}",
                title=self.title,
                status=self.status,
                detail=self.detail,
                instance=None if request_id is None else f"urn:evergreen:request:{request_id}",
                errors=self.errors[:MAX_ERRORS],
                more_errors=max(0, len(self.errors) - MAX_ERRORS),
                error=self.detail if inference else None,
                error_code=_mlflow_code(self.status) if mlflow else None,
                message=self.detail if mlflow else None,
            )
        )


def _mlflow_code(status: int) -> str:
    if status >= 500:
        return "INTERNAL_ERROR" if status == 500 else "TEMPORARILY_UNAVAILABLE"
    return {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}.get(status, "BAD_REQUEST")
