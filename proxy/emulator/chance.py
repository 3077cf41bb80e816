"""Seeded chance: everything random about the emulator comes from here, so that a seed fixes it."""

from random import Random


def seeded(purpose: str, seed: object) -> Random:
    """Return a source of chance of its own for this purpose."""
    return Random(f"{purpose}:{seed}")  # noqa: S311 - chosen for being reproducible; nothing secret depends on it
