"""Who may call the service, and as whom: keys, their scopes, and how many requests they may make."""
