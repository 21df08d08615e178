"""`make bench`: measures the service against the PostgreSQL it runs on. See docs/performance.md."""
