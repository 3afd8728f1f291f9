"""Charts as SVG that goes straight into a page: text stays text, colours are the page's own, each has a title and a
description for those who cannot see it.

The only file that knows matplotlib. Knows nothing of what is drawn.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "rule": "#030303",
    "ours": "#040404",
    "best": "#050505",
    "other": "#060606",
    "page": "#070707",
    "bad": "#080808",
}
"""Stand-ins, replaced by the page's variables (--ink, …) once matplotlib has written them."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.labelcolor": COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": COLOURS["rule"],
}
_WIDTH_INCHES = 7.6

Role = Literal["ours", "best", "other"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its value and interval written at its end."""

    label: str
    value: float
    interval: tuple[float, float] | None
    role: Role
    text: str
    """The value as the page writes it."""


def bar_chart(bars: Sequence[Bar], title: str, description: str, *, percent: bool = False) -> str:
    """Horizontal bars, first one on top, with their intervals; `percent` where values are shares."""

    def draw(axes: Axes) -> None:
        ends = [max(bar.value, bar.interval[1] if bar.interval else 0.0) for bar in bars]
        room = max(ends, default=1.0) or 1.0
        for place, (bar, end) in enumerate(zip(bars, ends, strict=True)):
            axes.barh(place, bar.value, height=0.62, color=COLOURS[bar.role])
            if bar.interval:
                axes.plot(bar.interval, [place, place], color=COLOURS["ink"], linewidth=1.4, solid_capstyle="butt")
            axes.text(end + 0.015 * room, place, bar.text, va="center", color=COLOURS["ink"])
        axes.set_xlim(0, 1.16 * room)
        if percent:
            axes.xaxis.set_major_formatter(_as_percent)
        _name_rows(axes, [bar.label for bar in bars])

    return svg_of(draw, 0.31 * len(bars) + 0.55, title, description)


@dataclass(frozen=True, slots=True)
class Span:
    """Two figures of one thing, told as a line between two dots."""

    label: str
    wanted: float
    shown: float


def span_chart(spans: Sequence[Span], names: tuple[str, str], title: str, description: str) -> str:
    """A hollow dot for what is wanted, a full one for what is shown, shares from 0 to 1."""

    def draw(axes: Axes) -> None:
        places = range(len(spans))
        axes.hlines(places, [span.wanted for span in spans], [span.shown for span in spans], color=COLOURS["other"])
        axes.scatter(
            [span.wanted for span in spans], places, s=34, facecolor=COLOURS["page"], edgecolor=COLOURS["ink"],
            zorder=3, label=names[0],
        )  # fmt: skip
        axes.scatter([span.shown for span in spans], places, s=34, color=COLOURS["ours"], zorder=4, label=names[1])
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(_as_percent)
        _name_rows(axes, [span.label for span in spans])
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, borderaxespad=0.2)

    return svg_of(draw, 0.27 * len(spans) + 0.9, title, description)


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], title: str, description: str) -> str:
    """One line per name over steps."""

    def draw(axes: Axes) -> None:
        for (name, points), colour in zip(series.items(), _line_colours(len(series)), strict=True):
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, label=name, color=COLOURS[colour[0]], linestyle=colour[1], linewidth=1.6)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_xlabel("step")
        axes.legend(frameon=False)

    return svg_of(draw, 2.6, title, description)


def _as_percent(value: float, _place: float) -> str:
    return f"{100 * value:g} %"


def _line_colours(count: int) -> list[tuple[str, str]]:
    kinds = [(colour, style) for style in ("-", "--", ":", "-.") for colour in ("ours", "ink", "best")]
    return [kinds[number % len(kinds)] for number in range(count)]


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)


def svg_of(draw: Callable[[Axes], None], height_inches: float, title: str, description: str) -> str:
    """Draw into a figure of its own and make an accessible element of it."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format")))
    return _for_page(written.getvalue(), title, description)


def _for_page(text: str, title: str, description: str) -> str:
    """Without prologue and styles for the whole page; ids of its own, the page's colours and typeface, and words for a
    screen reader."""
    svg = re.sub(r"<(metadata|style).*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    key = re.sub(r"\W+", "-", title.lower()).strip("-")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    named = f'{opening} role="img" aria-labelledby="{key}-title {key}-text">'
    words = f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-text">{escape(description)}</desc>'
    return named + words + rest
