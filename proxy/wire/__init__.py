"""What bytes mean: urgency, batch lines, server-sent events, error bodies, headers. Pure: no I/O."""
