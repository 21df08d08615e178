"""Working alerts: what people do with them once they are raised. It changes nothing of how events are judged."""
