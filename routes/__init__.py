"""HTTP and nothing else: thin views that validate, call the domain, and answer."""
