"""The soak: hours of bad weather in minutes, and at the end a judge that shares no code with the service."""
