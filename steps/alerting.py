"""Alerts from steps: to the targets of the use case, and to the stack's alerter."""

from __future__ import annotations

from zenml.client import Client
from zenml.logger import get_logger

from evergreen.alerts.alert import Alert
from evergreen.alerts.channels import Channel, DeliveryError, message_text
from evergreen.alerts.outbox import Letter
from evergreen.alerts.sending import Delivery, send
from evergreen.config import UseCase
from evergreen.paths import Home
from steps.announcements import announce

STACK_ALERTER = "the stack's alerter"  # as the outbox knows it

logger = get_logger(__name__)


def tell(alert: Alert, use_case: UseCase) -> Delivery:
    """Send an alert; what could not be delivered is logged and goes with the next one."""
    problems: tuple[str, ...] = ()
    also: dict[str, Channel] = {}
    try:
        if (posting := stack_channel()) is not None:
            also[STACK_ALERTER] = posting
    except Exception as error:  # the alert may be about that very trouble
        problems = (f"The stack's alerter cannot be reached: {error!r}",)
    delivery = send(alert, use_case.alerts, Home.locate().database_url, also=also)
    delivery = delivery.model_copy(update={"problems": (*problems, *delivery.problems)})
    for problem in delivery.problems:
        logger.warning("%s", problem)
        announce(problem)
    return delivery


def stack_channel() -> Channel | None:
    """Return what posts to the active stack's alerter; None where the stack has none."""
    alerter = Client().active_stack.alerter
    if alerter is None:
        return None

    def post(letter: Letter) -> None:
        if not alerter.post(message_text(letter)):
            raise DeliveryError("it did not take the message", temporary=True)

    return post
