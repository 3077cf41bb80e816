"""The event loop of production: uvloop where it is installed, asyncio's own elsewhere."""

import asyncio

try:
    import uvloop
except ImportError:  # not made for every platform
    new_event_loop = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop
