"""The service tiers in which providers sell the same tokens, from cheap and slow to dear and fast."""

from enum import StrEnum


class Tier(StrEnum):
    """One rung of the ladder. Prices are never implied by it: they come from the price book."""

    BATCH = "batch"
    """The provider's Batch API: minutes to 24 h."""
    FLEX = "flex"
    """A synchronous call with `service_tier: flex`: slow, refused when there is no capacity."""
    STANDARD = "standard"
    """A synchronous call, paced under the rate limit."""
    PRIORITY = "priority"
    """A synchronous call with `service_tier: priority` (also called `fast`)."""


ONLY_STANDARD = frozenset({Tier.STANDARD})
"""The tiers of a deferred request that waits for nothing but idle capacity."""
