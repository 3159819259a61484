"""Write the Prometheus operator's rule from deploy/prometheus/rules.yaml: ``make manifests``."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Final

HERE: Final = Path(__file__).resolve().parent
RULES: Final = HERE.parent / "prometheus" / "rules.yaml"
TARGET: Final = HERE / "components" / "monitoring" / "prometheus-rule.yaml"
HEAD: Final = """\
# Made by `make manifests` from deploy/prometheus/rules.yaml; change that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: evergreen, namespace: evergreen}
spec:
"""


def prometheus_rule() -> str:
    """Return the resource: the groups of the rules, as they stand there."""
    text = RULES.read_text(encoding="utf-8")
    return HEAD + indent(text[text.index("groups:") :], "  ")


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule(), encoding="utf-8")
