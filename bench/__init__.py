"""`make bench`: the service measured against the PostgreSQL that it runs on. See docs/performance.md."""
