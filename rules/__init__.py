"""The domain: what an alert is, and the engine that judges events."""
