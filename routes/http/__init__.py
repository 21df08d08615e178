"""What doors and views share: bodies in, answers out."""
