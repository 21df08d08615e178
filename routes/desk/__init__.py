"""The desk: pages on which people work alerts, understand users and tune rules, one file per page."""
