"""Standby: an OpenAI-compatible proxy that decides, for each request, sync or batch.

The house. Imports only ever point down; rooms on one floor do not know each other.

    6  cli, demo, backtest, report, check     what to run; a show of both rims; what would be, and was, saved; policies
    5  runtime, config                        build everything, wire events, start and stop in order
    4  server, simulation, emulator           the rims: real clients | virtual time | a fake provider
    3  batching, delivery                     buying answers later | handing answers back
    2  store, upstream, telemetry             durable rows | providers | metrics and logs
    1  routing, wire                          what to do | what bytes mean: pure
    0  domain                                 the words: plain data, standard library only

`tests/test_architecture.py` enforces this map.
"""

__version__ = "0.1.0"
