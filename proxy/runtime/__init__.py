"""Build everything, wire events, start and stop in order."""
