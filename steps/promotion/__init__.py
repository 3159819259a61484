"""From a judged challenger to a registered version and its report."""
