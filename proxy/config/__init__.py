"""Configuration: YAML with line marks, read into the Settings that each room defines."""
