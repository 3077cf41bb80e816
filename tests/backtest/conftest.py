from collections.abc import Callable

import pytest

from proxy.backtest.weather import CompletionPath, World
from proxy.routing.pricing import PriceBook
from proxy.upstream.costmap import read_cost_map


@pytest.fixture(scope="session")
def prices() -> PriceBook:
    cost_map = read_cost_map()
    return PriceBook.from_cost_map(cost_map.models, {}, cost_map.source)


class ConstantPath(CompletionPath):
    """Every batch takes the same time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(World.NORMAL, 60.0, "m", 1)
        self.seconds = seconds

    def completed_at(self, at: float) -> float:
        return at + self.seconds

    def best_after(self, at: float) -> float:
        return at + self.seconds


@pytest.fixture(scope="session")
def constant_path() -> Callable[[float], CompletionPath]:
    return ConstantPath
