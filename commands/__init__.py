"""Commands of the service beside serving: `flask --app app COMMAND`."""
