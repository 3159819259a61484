"""From training rows to a judged challenger."""
