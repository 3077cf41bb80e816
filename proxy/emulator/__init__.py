"""A strict, publishable fake provider. It shares no code with the rooms that it tests."""
