"""What a person asks of the store: the money, what waits, what is under way. Nothing here changes anything."""
