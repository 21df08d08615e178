"""Judging one batch of events, from locking their users to the commit."""
