"""Everything that touches PostgreSQL: models, statements, sessions, migrations and the embedded server."""
