"""Handing answers back: wake whoever holds a connection, attach retries to the same work."""
