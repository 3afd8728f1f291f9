"""Charts of a run over time, with what was done to the deployment meanwhile. Knows nothing of what is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from training.plots import COLOURS, svg_of

Points = Sequence[tuple[float, float | None]]
"""Seconds and values; a line breaks where there is none."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the run that the eye should know of."""

    begins: float
    ends: float
    """When what was done had been undone."""
    over: float
    """When the deployment had recovered; `ends` where that is not known or nothing was to recover from."""
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    points: Points
    colour: Literal["ours", "best", "ink", "bad"]
    style: Literal["-", "--", ":"] = "-"


def chart(
    lines: Mapping[str, Line],
    windows: Sequence[Window],
    title: str,
    description: str,
    *,
    unit: str,
    logarithmic: bool = False,
) -> str:
    """Lines over the seconds of a run, as SVG for a page; windows are shaded, their recovery lighter."""

    def draw(axes: Axes) -> None:
        for name, line in lines.items():
            seconds = [second for second, _ in line.points]
            values = [float("nan") if value is None else value for _, value in line.points]
            axes.plot(seconds, values, label=name, color=COLOURS[line.colour], linestyle=line.style, linewidth=1.4)
        for place, window in enumerate(windows):
            _shade(axes, window, place)
        axes.set_xlabel("seconds since the run began")
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.6)
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, frameon=False, borderaxespad=0.2)

    return svg_of(draw, 2.4, title, description)


def _shade(axes: Axes, window: Window, place: int) -> None:
    axes.axvspan(window.begins, max(window.ends, window.begins + 0.2), color=COLOURS["bad"], alpha=0.22, linewidth=0)
    if window.over > window.ends:
        axes.axvspan(window.ends, window.over, color=COLOURS["bad"], alpha=0.09, linewidth=0)
        axes.axvline(window.over, color=COLOURS["bad"], linewidth=0.8, linestyle=":")
    height = 0.96 - 0.12 * (place % 3)
    label = axes.text(window.begins, height, f" {window.label}", va="top", fontsize=8.5, color=COLOURS["ink"])
    label.set_transform(axes.get_xaxis_transform())
