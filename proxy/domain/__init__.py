"""The words of Standby: plain data, state machines, clock, events, errors. Standard library only, no I/O."""
