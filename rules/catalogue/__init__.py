"""One rule per file. `rules/registry.py` puts them in order."""
