from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.backtest.svg import Axis, Layer, bars, points, stacked_bars


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (10, [0, 2, 4, 6, 8, 10]),
        (7.3, [0, 2, 4, 6, 8]),
        (0.0004, [0, 0.0001, 0.0002, 0.0003, 0.0004]),
        (0, [0, 0.5, 1.0]),
        (float("nan"), [0, 0.5, 1.0]),
    ],
)
def test_an_axis_has_few_round_ticks(largest: float, ticks: list[float]) -> None:
    assert Axis.upto(largest).ticks() == pytest.approx(ticks)


@given(largest=st.floats(1e-9, 1e12))
def test_an_axis_reaches_its_largest_value_and_not_much_more(largest: float) -> None:
    axis = Axis.upto(largest)
    assert largest * (1 - 1e-6) <= axis.top <= largest * 2
    assert 2 <= len(axis.ticks()) <= 8


def heights(svg: str, color: str) -> list[float]:
    return [float(rect.get("height", "")) for rect in ElementTree.fromstring(svg) if rect.get("fill") == color]


def test_stacked_bars_are_as_high_as_their_values() -> None:
    layers = [Layer("a", "red", [1.0, 2.0]), Layer("b", "blue", [3.0, 0.0])]
    svg = stacked_bars("t", layers, Layer("line", "gray", [4.0, 4.0]), {0: "begin"}, str)
    one, two, legend = heights(svg, "red")
    assert two == pytest.approx(2 * one, abs=0.2)
    assert heights(svg, "blue")[0] == pytest.approx(3 * one, abs=0.3)
    assert legend == 10
    assert "begin" in svg


def test_whatever_a_name_contains_the_plot_is_well_formed() -> None:
    hostile = "<script>\"&'"
    for svg in (
        bars(hostile, [(hostile, 1.0, "red")], str),
        points(hostile, [(hostile, 0.1, 0.2)], str, str, "red"),
        stacked_bars(hostile, [Layer(hostile, "red", [1.0])], Layer("l", "gray", [1.0]), {0: hostile}, str),
    ):
        drawn = ElementTree.fromstring(svg)
        assert drawn.get("aria-label") == hostile
        assert drawn[0].text == hostile
        assert not [child for child in drawn.iter() if child.tag.endswith("script")]


def test_nothing_to_draw_is_drawn() -> None:
    for svg in (
        bars("t", [], str),
        points("t", [], str, str, "red"),
        stacked_bars("t", [], Layer("l", "g", []), {}, str),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
