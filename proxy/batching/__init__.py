"""Buying answers later: cut queues into batches, submit, poll, collect, clean, escalate, recover."""
