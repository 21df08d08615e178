"""What a caller gets who comes when a bound of the service is reached."""


class Overloaded(Exception):
    """More waits than may, or it has waited for too long; nothing was stored, and trying again later can succeed."""


class QueueFull(Overloaded):
    """As many events wait as may; this one was not stored."""
