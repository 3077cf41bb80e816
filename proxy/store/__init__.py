"""Durable rows: the store contract and its engines."""
