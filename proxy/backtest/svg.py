"""Plots as SVG, drawn with nothing but text: stacked bars with a line over them, plain bars, labelled points."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 28, 44
TICKS_WANTED = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from 0 to a round number at or above the largest value, and where its ticks are."""

    top: float
    step: float

    @classmethod
    def upto(cls, largest: float) -> "Axis":
        """The axis for values from 0 to `largest`."""
        if largest <= 0 or not math.isfinite(largest):
            return cls(1.0, 0.5)
        rough = largest / TICKS_WANTED
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * (1 - 1e-9))
        return cls(step * math.ceil(largest / step - 1e-9), step)

    def ticks(self) -> list[float]:
        """From 0 to the top."""
        return [number * self.step for number in range(round(self.top / self.step) + 1)]


Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Layer:
    """One kind of value in stacked bars."""

    name: str
    color: str
    values: Sequence[float]


def stacked_bars(
    title: str, layers: Sequence[Layer], line: Layer, labels: Mapping[int, str], format_value: Format
) -> str:
    """Bars of stacked layers with a line over them. `labels` names some of the bars on the x axis by their index."""
    count = max((len(layer.values) for layer in (*layers, line)), default=0)
    totals = [sum(layer.values[index] for layer in layers) for index in range(count)]
    axis = Axis.upto(max([*totals, *line.values], default=0.0))
    width = _plot_width() / max(1, count)
    parts: list[str] = []
    base = [0.0] * count
    for layer in layers:
        for index, value in enumerate(layer.values):
            if value > 0:
                parts.append(_rect(LEFT + index * width, base[index], value, width, axis, layer.color))
                base[index] += value
    points = " ".join(
        f"{LEFT + (index + 0.5) * width:.1f},{_y(value, axis):.1f}" for index, value in enumerate(line.values)
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="{line.color}" stroke-width="1.5"/>')
    places = {LEFT + (index + 0.5) * width: name for index, name in labels.items()}
    return _plot(title, [*parts, *_legend([*layers, line])], axis, places, format_value)


def bars(title: str, values: Sequence[tuple[str, float, str]], format_value: Format) -> str:
    """One bar for each (label, value, color)."""
    axis = Axis.upto(max((value for _, value, _ in values), default=0.0))
    width = _plot_width() / max(1, len(values))
    parts: list[str] = []
    places: dict[float, str] = {}
    for index, (label, value, color) in enumerate(values):
        x = LEFT + index * width
        parts.append(_rect(x + width * 0.1, 0.0, value, width * 0.8, axis, color))
        parts.append(_text(x + width / 2, _y(value, axis) - 4, format_value(value), "middle"))
        places[x + width / 2] = label
    return _plot(title, parts, axis, places, format_value)


def points(
    title: str, values: Sequence[tuple[str, float, float]], format_x: Format, format_y: Format, color: str
) -> str:
    """A labelled point for each (label, x, y)."""
    across = Axis.upto(max((x for _, x, _ in values), default=0.0))
    up = Axis.upto(max((y for _, _, y in values), default=0.0))
    parts: list[str] = []
    for number, (label, x, y) in enumerate(values):
        at = LEFT + _plot_width() * x / across.top
        parts.append(f'<circle cx="{at:.1f}" cy="{_y(y, up):.1f}" r="5" fill="{color}"/>')
        side, shift = ("end", -8) if at > WIDTH * 0.7 else ("start", 8)
        parts.append(_text(at + shift, _y(y, up) + 4 + 12 * (number % 2), label, side))
    places = {LEFT + _plot_width() * tick / across.top: format_x(tick) for tick in across.ticks()}
    return _plot(title, parts, up, places, format_y)


def _plot(title: str, parts: Sequence[str], axis: Axis, places: Mapping[float, str], format_value: Format) -> str:
    grid: list[str] = []
    for tick in axis.ticks():
        y = _y(tick, axis)
        grid.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        grid.append(_text(LEFT - 6, y + 4, format_value(tick), "end"))
    named = [_text(x, HEIGHT - BOTTOM + 16, name, "middle") for x, name in places.items()]
    name = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
        f'<title>{name}</title><text x="{LEFT}" y="16" class="title">{name}</text>'
        f"{''.join([*grid, *parts, *named])}</svg>"
    )


def _legend(layers: Sequence[Layer]) -> list[str]:
    drawn: list[str] = []
    for index, layer in enumerate(layers):
        x = LEFT + index * 110
        drawn.append(f'<rect x="{x}" y="{HEIGHT - 16}" width="10" height="10" fill="{layer.color}"/>')
        drawn.append(_text(x + 14, HEIGHT - 7, layer.name, "start"))
    return drawn


def _rect(x: float, base: float, value: float, width: float, axis: Axis, color: str) -> str:
    y = _y(base + value, axis)
    height = max(0.0, _y(base, axis) - y)
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.5, width):.1f}" height="{height:.1f}" fill="{color}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _y(value: float, axis: Axis) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / axis.top


def _plot_width() -> float:
    return WIDTH - LEFT - RIGHT
