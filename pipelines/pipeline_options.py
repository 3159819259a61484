"""What all pipelines ask of ZenML."""

from __future__ import annotations

from typing import Any, Final

from zenml.enums import ExecutionMode

OPTIONS: Final[dict[str, Any]] = {
    "enable_step_logs": False,
    "enable_pipeline_logs": False,
    "enable_heartbeat": False,
    "execution_mode": ExecutionMode.FAIL_FAST,
}
