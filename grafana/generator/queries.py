"""PromQL that more than one panel needs. `$upstream`, `$model` and `$policy` are the choices above the dashboard."""

PAIR = 'upstream=~"$upstream", model=~"$model"'
MODEL = 'model=~"$model"'
UPSTREAM = 'upstream=~"$upstream"'
POLICY = 'policy=~"$policy"'

WASTE = f'{PAIR}, kind=~"duplicate|failed"'
"""What was paid for nothing."""

RATE = "$__rate_interval"
RANGE = "$__range"


def grown(counter: str, labels: str = PAIR, by: str = "", over: str = RANGE) -> str:
    """By how much a counter has grown."""
    return f"sum{_by(by)}(increase({counter}{{{labels}}}[{over}]))"


def per_minute(counter: str, labels: str = PAIR, by: str = "") -> str:
    """How fast a counter grows. Deferred work is so slow that a second of it would be a number with many zeros."""
    return f"60 * sum{_by(by)}(rate({counter}{{{labels}}}[{RATE}]))"


def per_hour(counter: str, labels: str = PAIR, by: str = "") -> str:
    """How fast money goes."""
    return f"3600 * sum{_by(by)}(rate({counter}{{{labels}}}[{RATE}]))"


def quantile(share: float, histogram: str, labels: str = PAIR, by: str = "", over: str = RATE) -> str:
    """The value that so large a share of observations stays under."""
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({groups}) (rate({histogram}_bucket{{{labels}}}[{over}])))"


def now(gauge: str, labels: str = PAIR, by: str = "", how: str = "sum") -> str:
    """What a gauge says, over all processes."""
    return f"{how}{_by(by)}({gauge}{{{labels}}})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
