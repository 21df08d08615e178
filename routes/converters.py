"""How ids stand in paths."""

from werkzeug.routing import BaseConverter, ValidationError

from routes.schemas import MAX_ID


class IdConverter(BaseConverter):
    """An id in a path: 1 to 2^63-1 in plain digits without leading zeros; anything else is a 404."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        """The id. Raises ValidationError (answered with 404) above 2^63-1."""
        if (number := int(value)) > MAX_ID:
            raise ValidationError
        return number
