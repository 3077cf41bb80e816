"""What a policy would have saved: a recorded trace, played through the real engine on virtual time."""
