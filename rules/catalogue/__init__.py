"""One rule a file. `rules/registry.py` puts them in order."""
