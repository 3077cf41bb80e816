"""Virtual time: the real engine and server on a clock that jumps from timer to timer."""
