"""What a cluster refuses is told in its own words, where it has any."""

from __future__ import annotations

import pytest
from kubernetes.client import ApiException

from stacks.cluster_answers import refusal


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"kind": "Status", "message": "pods is forbidden"}', "pods is forbidden"),
        ('{"kind": "Status"}', "403 Forbidden"),
        ("[]", "403 Forbidden"),
        ("<html>a proxy's page</html>", "403 Forbidden"),
        (None, "403 Forbidden"),
    ],
)
def test_the_message_of_the_body_or_else_the_status(body, said):
    error = ApiException(403, "Forbidden")
    error.body = body
    assert refusal(error) == said
