"""The HTTP rim: real clients on aiohttp."""
