"""`standby demo`: the fake provider, the proxy and the stock openai package, watched live and settled at the end."""
