"""What to do: policy, planner, prices, rate limits, escalation. Pure: no I/O, the clock is an argument."""
