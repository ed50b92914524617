"""The metrics: background, foreground and registration."""
