"""The commands: `flask --app app COMMAND`, and `python app.py`, which serves."""
