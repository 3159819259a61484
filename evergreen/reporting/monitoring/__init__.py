"""Pages on monitored windows: the trend over all of them, and the decision about one."""

from evergreen.reporting.monitoring.decision_page import decision_page
from evergreen.reporting.monitoring.trend_page import monitoring_page

__all__ = ["decision_page", "monitoring_page"]
