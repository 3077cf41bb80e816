"""Providers: how answers are bought, synchronously and in batches."""
