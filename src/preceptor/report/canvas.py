"""Small SVG figures in the colours of the page, so that they follow it from light to dark and onto paper."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Sheet

# Matplotlib knows no CSS variables: it draws in these stand-ins, which are exchanged in the finished SVG.
INK, FAINT, RULE = "#fe0001", "#fe0002", "#fe0003"
SERIES = tuple(f"#fe00{index:02x}" for index in range(0x11, 0x19))
SHADES = tuple(f"#fe00{index:02x}" for index in range(0x21, 0x25))
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    RULE: "var(--rule)",
    **{stand_in: f"var(--c{index})" for index, stand_in in enumerate(SERIES, 1)},
    **{stand_in: f"var(--o{index})" for index, stand_in in enumerate(SHADES, 1)},
}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the font of the page
    "text.color": INK,
    "text.parse_math": False,  # a class called "$x$" is a name
    "xtick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.color": RULE,
    "ytick.labelcolor": FAINT,
}
WIDTH, HEIGHT = 3.6, 2.8  # inches of 72 px: four in a row of the page, one on a telephone
# Fixed, in inches: neighbours line up, and matplotlib's own layout would draw everything twice.
LEFT, RIGHT, TOP, BOTTOM = 0.55, 0.12, 0.1, 0.55
LABEL = 0.3  # more on the left, for the name of the vertical axis
EDGE = 0.15  # of the figure, where that name ends


@dataclass(frozen=True)
class Mark:
    """One line of a legend: CSS colour variable, line style (solid, dashed, dotted) and words."""

    colour: str
    words: str
    line: str = "solid"


@dataclass(frozen=True)
class Figure:
    """An inline SVG with its title and, where it has one of its own, its legend."""

    svg: Markup
    title: str
    note: str = ""
    legend: list[Mark] = field(default_factory=list)


class Sketch:
    """What :func:`sketch` yields: the axes to draw on, and the finished SVG afterwards."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = Markup()


@contextmanager
def sketch(description: str, x: str, y: str = "", *, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Sketch]:
    """Axes in the style of the page; on leaving, ``.svg`` holds the drawing.

    Args:
        description: read out in place of the picture.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        width: in inches of 72 px.
        height: in inches of 72 px.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": description}):
        sheet = Sheet(figsize=(width, height))
        FigureCanvasSVG(sheet)
        drawing = Sketch(sheet.add_subplot(xlabel=x, ylabel=y))
        drawing.axes.tick_params(length=0, pad=5)
        left, middle = LEFT + LABEL if y else LEFT, (BOTTOM + height - TOP) / 2
        if y:  # at the edge, however wide the numbers beside it are
            drawing.axes.yaxis.set_label_coords(EDGE / width, middle / height, transform=sheet.transFigure)
        sheet.subplots_adjust(left / width, BOTTOM / height, 1 - RIGHT / width, 1 - TOP / height)
        yield drawing
        drawing.svg = _svg(sheet, description)


def _svg(sheet: Sheet, description: str) -> Markup:
    buffer = io.StringIO()
    sheet.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # inline SVG needs none, and the page names no address
    text = _own_ids(text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    opening = Markup('<svg role="img" aria-label="{}"').format(description)
    # Without a fixed size the drawing takes the width of its column.
    text = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', lambda match: f"{opening} {match[1]}>", text, count=1)
    return Markup(text)  # matplotlib has escaped what was written into the drawing


def _own_ids(text: str) -> str:
    """Keeps the ids that are referred to, under names that no other figure of the page has; drops the others."""
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    prefix = f"f{hashlib.sha256(text.encode()).hexdigest()[:10]}-"
    text = re.sub(r' id="([\w.-]+)"', lambda match: f' id="{prefix}{match[1]}"' if match[1] in used else "", text)
    return re.sub(r'(url\(#|href="#)([\w-]+)', rf"\g<1>{prefix}\g<2>", text)
