"""What the doors and the views share: reading requests and making answers."""
