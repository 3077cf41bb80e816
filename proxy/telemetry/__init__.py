"""Metrics and logs: they listen to events, and nothing listens to them."""
