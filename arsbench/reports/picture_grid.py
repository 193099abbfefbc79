"""Pictures side by side with their labels, on a page of a paper: the drawing of Figures 3 and 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from arsbench.reports.figures import DPI

Picture = NDArray[np.uint8]
"""``[H, W, 3]``."""

# Inches.
PAGE_WIDTH = 7.0
PAGE_HEIGHT = 9.0
_LARGEST = 1.2
_MARGIN = 0.04
_GAP = 0.01
_GROUP_GAP = 0.04
_FAR_GAP = 0.12
_BLOCK_GAP = 0.12
_LABEL_GAP = 0.05
_TITLE_LINE = 0.19
_GROUP_LINE = 0.14
_COLUMN_LINE = 0.13
# Points.
_TITLE_SIZE = 8.0
_LABEL_SIZE = 7.0
_POINTS = 72.0

_SNAP = 0.8
"""Pictures shrink to this share of the room there is, where that gives each pixel the same number of dots."""


@dataclass(frozen=True)
class Group:
    """Columns that belong together.

    Attributes:
        columns: pictures, column by column, each from the top down.
        title: over all of them, or empty.
        labels: over each column, or none.
        far: whether a wider gap sets it off from the group to its left.
    """

    columns: Sequence[Sequence[Picture]]
    title: str = ""
    labels: Sequence[str] = ()
    far: bool = False


@dataclass(frozen=True)
class Block:
    """Groups of columns with common rows.

    Attributes:
        rows: the label of each row, of one or more lines.
        groups: from left to right; every column has as many pictures as there are rows.
        title: over the block, or empty.
        remark: beside the title, in red, or empty.
    """

    rows: Sequence[str]
    groups: Sequence[Group]
    title: str = ""
    remark: str = ""

    @property
    def columns(self) -> int:
        """How many there are."""
        return sum(len(group.columns) for group in self.groups)

    @property
    def label_width(self) -> float:
        """Inches that the row labels take."""
        return max(_width(line) for row in self.rows for line in row.split("\n")) + _LABEL_GAP

    @property
    def spare_width(self) -> float:
        """Inches that are not pictures, from left to right."""
        gaps = sum(_FAR_GAP if group.far else _GROUP_GAP for group in self.groups[1:])
        return self.label_width + gaps + _GAP * (self.columns - len(self.groups))

    @property
    def head(self) -> float:
        """Inches above the first row."""
        titled = any(group.title for group in self.groups) * _GROUP_LINE
        labelled = any(group.labels for group in self.groups) * _COLUMN_LINE
        return (_TITLE_LINE if self.title or self.remark else 0) + titled + labelled

    @property
    def spare_height(self) -> float:
        """Inches that are not pictures, from the top down."""
        return self.head + _GAP * (len(self.rows) - 1)


Bands = Sequence[Sequence[Block]]
"""Blocks side by side, band under band."""


def side(bands: Bands) -> float:
    """Inches that a picture may be wide and high for the bands to fit on a page; not positive if they cannot."""
    across = min(
        (PAGE_WIDTH - 2 * _MARGIN - _BLOCK_GAP * (len(band) - 1) - sum(block.spare_width for block in band))
        / sum(block.columns for block in band)
        for band in bands
    )
    spare = sum(max(block.spare_height for block in band) for band in bands) + _BLOCK_GAP * (len(bands) - 1)
    down = (PAGE_HEIGHT - 2 * _MARGIN - spare) / sum(max(len(block.rows) for block in band) for band in bands)
    return min(across, down, _LARGEST)


def draw(bands: Bands) -> Figure:
    """A figure at most 7 inches wide and 9 high, with all pictures of one size and no axes."""
    size = _snapped(side(bands), bands[0][0].groups[0].columns[0][0].shape[1])
    widths = [
        sum(block.spare_width + size * block.columns for block in band) + _BLOCK_GAP * (len(band) - 1) for band in bands
    ]
    heights = [max(block.spare_height + size * len(block.rows) for block in band) for band in bands]
    width, height = max(widths) + 2 * _MARGIN, sum(heights) + _BLOCK_GAP * (len(bands) - 1) + 2 * _MARGIN
    figure = Figure(figsize=(width, height))
    # One plane measured in inches from the top left corner, on which everything is placed.
    plane = figure.add_axes((0, 0, 1, 1))
    plane.set_axis_off()
    top = _MARGIN
    for band, band_height in zip(bands, heights, strict=True):
        left = _MARGIN
        for block in band:
            _draw_block(plane, block, left, top, size)
            left += block.spare_width + size * block.columns + _BLOCK_GAP
        top += band_height + _BLOCK_GAP
    plane.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def _draw_block(plane: Axes, block: Block, left: float, top: float, size: float) -> None:
    first = left + block.label_width
    _text(plane, first, top + _TITLE_LINE / 2, block.title, "left", _TITLE_SIZE, "bold")
    if block.remark:
        after = first + _width(block.title, _TITLE_SIZE, "bold") + 0.1
        _text(plane, after, top + _TITLE_LINE / 2, block.remark, "left", _TITLE_SIZE, colour="#B00000")
    down = top + block.head
    for i, label in enumerate(block.rows):
        _text(plane, first - _LABEL_GAP, down + i * (size + _GAP) + size / 2, label, "right")
    across = first
    for number, group in enumerate(block.groups):
        if number:
            across += _FAR_GAP if group.far else _GROUP_GAP
        _draw_group(plane, group, across, down, size)
        across += _group_width(group, size)


def _draw_group(plane: Axes, group: Group, left: float, down: float, size: float) -> None:
    label_line = _COLUMN_LINE if group.labels else 0
    width = _group_width(group, size)
    _text(plane, left + width / 2, down - label_line - _GROUP_LINE / 2, _cut(group.title, width), "center")
    for j, column in enumerate(group.columns):
        x = left + j * (size + _GAP)
        if group.labels:
            _text(plane, x + size / 2, down - _COLUMN_LINE / 2, _cut(group.labels[j], size), "center")
        for i, picture in enumerate(column):
            y = down + i * (size + _GAP)
            enough = size * DPI >= picture.shape[1]  # fewer dots than pixels: nearest would drop some
            plane.imshow(
                picture,
                extent=(x, x + size, y + size, y),
                interpolation="nearest" if enough else "antialiased",
                aspect="auto",
            )


def _group_width(group: Group, size: float) -> float:
    return len(group.columns) * size + _GAP * (len(group.columns) - 1)


def _snapped(size: float, pixels: int) -> float:
    """Such that each pixel is a whole number of dots, where that costs little."""
    whole = int(size * DPI / pixels) * pixels / DPI
    return whole if whole >= _SNAP * size else size


def _text(
    plane: Axes,
    x: float,
    y: float,
    text: str,
    align: str,
    size: float = _LABEL_SIZE,
    weight: str = "normal",
    colour: str = "black",
) -> None:
    if text:
        plane.text(x, y, text, ha=align, va="center", size=size, weight=weight, color=colour, parse_math=False)


def _width(text: str, size: float = _LABEL_SIZE, weight: str = "normal") -> float:
    """Inches that one line of text takes."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight), usetex=False)
    return float(path.get_extents().x1) / _POINTS


def _cut(text: str, width: float) -> str:
    """Text that fits into so many inches, an ellipsis where it was too long."""
    kept = text
    while len(kept) > 1 and _width(kept) > width:
        kept = kept.removesuffix("…")[:-1] + "…"
    return kept
