"""Records that travel to a statement as one JSON text, so that it is the same for any number of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import JSONB


def recordset(record: Any, name: str, types: Mapping[str, Any]) -> Any:
    """The records (NamedTuples) of the parameter `name` in a FROM clause; `types` by field."""
    columns = [column(field, types[field]) for field in record._fields]
    rows = func.jsonb_to_recordset(cast(bindparam(name, type_=Text), JSONB))
    return rows.table_valued(*columns, name=name).render_derived(with_types=True)


def written(records: Sequence[Any]) -> str:
    """Records as such a parameter takes them."""
    return json.dumps([dict(one._asdict()) for one in records], default=datetime.isoformat)
