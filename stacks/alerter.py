"""An alerter that needs no service: one line per alert in a file, and in the run's log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from zenml.alerter.base_alerter import (
    BaseAlerter,
    BaseAlerterConfig,
    BaseAlerterFlavor,
    BaseAlerterStepParameters,
)
from zenml.logger import get_logger

logger = get_logger(__name__)


class FileAlerterConfig(BaseAlerterConfig):
    """Settings of the file alerter."""

    path: str

    @property
    def is_local(self) -> bool:
        """The file is on this machine."""
        return True


class FileAlerter(BaseAlerter):
    """Appends alerts to a file."""

    @property
    def config(self) -> FileAlerterConfig:
        """The component's settings."""
        return cast(FileAlerterConfig, self._config)

    def post(self, message: str, params: BaseAlerterStepParameters | None = None) -> bool:
        """Append one line: time (UTC) and message."""
        path = Path(self.config.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = " ".join(message.split())
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")
        logger.warning("Alert: %s", line)
        return True

    def ask(self, question: str, params: BaseAlerterStepParameters | None = None) -> bool:
        """Post the question and answer no: a file cannot approve anything."""
        self.post(question, params)
        return False


class FileAlerterFlavor(BaseAlerterFlavor):
    """Registers the file alerter with ZenML."""

    @property
    def name(self) -> str:
        """The flavor's name in stack files."""
        return "evergreen_file"

    @property
    def config_class(self) -> type[FileAlerterConfig]:
        """Class of the settings."""
        return FileAlerterConfig

    @property
    def implementation_class(self) -> type[FileAlerter]:
        """Class of the component."""
        return FileAlerter
