"""Curves as inline SVG, for pages: text and lines take the page's colours, light or dark; no script draws them.

Everything that stands in them is escaped: names are strangers' texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from arsbench.reports.table import Value, number

LEAST_LEVELS = 6
"""The levels 0 to 5 have their places, even where some were not run."""


@dataclass(frozen=True)
class Line:
    """A curve over the levels.

    Attributes:
        name: of the protector.
        values: level -> value.
        style: a class of the style sheet: ``own``, or a control's name.
        band: level -> the value with its interval; may be empty.
    """

    name: str
    values: Mapping[int, float]
    style: str = "own"
    band: Mapping[int, Value] | None = None


@dataclass(frozen=True)
class Frame:
    """Where a panel's values lie: the plot's rectangle in SVG units, and the ends of the scale."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float
    levels: int

    def x(self, level: int) -> float:
        """Of a level."""
        return self.left + self.width * level / max(1, self.levels - 1)

    def y(self, value: float) -> float:
        """Of a value; what lies outside the scale is drawn at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.top + self.height * (1 - share)

    def points(self, values: Mapping[int, float]) -> str:
        """As a polyline's attribute."""
        return " ".join(f"{self.x(level):.1f},{self.y(value):.1f}" for level, value in sorted(values.items()))


def thumbnail(own: Line, controls: Sequence[Line]) -> Markup:
    """A small chart of shares over the levels, 0 to 1, for a line of a table; its numbers stand in its title."""
    frame = Frame(2, 2, 92, 26, 0, 1, _levels([own, *controls]))
    parts = [Markup('<line class="base" x1="2" y1="28" x2="94" y2="28"/>')]
    parts += [_polyline(frame, line) for line in controls]
    parts.append(_polyline(frame, own))
    if own.values:
        last = max(own.values)
        parts.append(
            Markup('<circle class="own" cx="{}" cy="{}" r="2"/>').format(
                f"{frame.x(last):.1f}", f"{frame.y(own.values[last]):.1f}"
            )
        )
    return _svg(96, 30, "thumb", f"{own.name} over the levels: {_told(own, 2)}", parts)


def panel(title: str, lines: Sequence[Line], share: bool, digits: int = 2) -> Markup:
    """A chart with axes: values over the levels; ``share`` fixes the scale to 0 .. 1."""
    values = [value for line in lines for value in line.values.values() if math.isfinite(value)]
    ticks = [0.0, 0.5, 1.0] if share else _ticks(values)
    frame = Frame(38, 10, 214, 124, ticks[0], ticks[-1], _levels(lines))
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        parts.append(Markup('<line class="grid" x1="38" y1="{0}" x2="252" y2="{0}"/>').format(f"{y:.1f}"))
        parts.append(
            Markup('<text class="tick" x="33" y="{}" text-anchor="end">{}</text>').format(f"{y + 3.5:.1f}", f"{tick:g}")
        )
    for level in range(frame.levels):
        parts.append(
            Markup('<text class="tick" x="{}" y="149" text-anchor="middle">{}</text>').format(
                f"{frame.x(level):.1f}", level
            )
        )
    parts.append(Markup('<text class="tick" x="145" y="164" text-anchor="middle">level</text>'))
    for line in lines:
        if line.band:
            parts.append(_band(frame, line.band))
        parts.append(_polyline(frame, line))
        if line.style == "own":
            parts += [
                Markup('<circle class="own" cx="{}" cy="{}" r="2.6"/>').format(
                    f"{frame.x(level):.1f}", f"{frame.y(value):.1f}"
                )
                for level, value in line.values.items()
            ]
    told = "; ".join(f"{line.name}: {_told(line, digits)}" for line in lines if line.values)
    return _svg(258, 168, "panel", f"{title}. {told}", parts)


def _svg(width: int, height: int, style: str, title: str, parts: Iterable[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(style, width, height, width, height, title, Markup("").join(parts))


def _polyline(frame: Frame, line: Line) -> Markup:
    values = {level: value for level, value in line.values.items() if math.isfinite(value)}
    return Markup('<polyline class="{}" points="{}"/>').format(line.style, frame.points(values))


def _band(frame: Frame, band: Mapping[int, Value]) -> Markup:
    known = {level: v for level, v in sorted(band.items()) if math.isfinite(v.low) and math.isfinite(v.high)}
    upper = frame.points({level: v.high for level, v in known.items()}).split()
    lower = frame.points({level: v.low for level, v in known.items()}).split()
    return Markup('<polygon class="band" points="{}"/>').format(" ".join([*upper, *reversed(lower)]))


def _told(line: Line, digits: int) -> str:
    return ", ".join(f"level {level} {number(value, digits)}" for level, value in sorted(line.values.items()))


def _levels(lines: Sequence[Line]) -> int:
    return max([LEAST_LEVELS, *(level + 1 for line in lines for level in line.values)])


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers around the values, three to six of them."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if 0 <= low < 0.4 * high:
        low = 0.0  # a scale from zero, unless it would leave the curves no room
    high = max(high, low + 1e-9)
    rough = (high - low) / 3
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough), power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]
