"""Picture of a dealers' book: gamma exposure by strike, and over the index.

The only module that imports matplotlib.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.errors import GammawallError
from sim.files.terminal_text import printable

if TYPE_CHECKING:
    from sim.chain.book import ChainBook
    from sim.chain.levels import GammaLevels

INSTALL = "pip install 'gammawall-sim[book]'"
# Strikes shown lie within this share of spot, in bars of about so many to both sides.
STRIKES_SHOWN = 0.12
BARS = 48
HEADROOM = 0.22
SIZE_INCHES = (9.0, 8.0)
DOTS_PER_INCH = 130
FOOTER_LETTERS = 130
CALLS, PUTS, NET, SPOT, QUIET = "#2a78b5", "#c8553d", "#1d1d1f", "#6b6b70", "#d9d9de"


def gamma_picture(book: ChainBook, levels: GammaLevels) -> bytes:
    """PNG of two panels: bars of call and put exposure by strike, and the net exposure over the index.

    It looks the same whatever matplotlib's settings here, and needs no display.

    Errors: `GammawallError` where matplotlib is not installed or cannot draw.
    """
    with _own_settings():
        try:
            from matplotlib import rc_context, rcdefaults
            from matplotlib.figure import Figure
        except ImportError as error:
            raise GammawallError(f"the picture needs matplotlib ({error}). Try {INSTALL}.") from error
        with rc_context():
            rcdefaults()
            figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
            _draw(figure, book, levels)
            picture = io.BytesIO()
            figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Context without the settings of matplotlib that the environment makes; what it logs is left out.

    matplotlib cannot even be imported under a backend that it does not know.
    """
    log = logging.getLogger("matplotlib")
    level, backend = log.level, os.environ.pop("MPLBACKEND", None)
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def _draw(figure: Any, book: ChainBook, levels: GammaLevels) -> None:
    above, below = figure.subplots(2, 1)
    title = book.chain.title or book.chain.source
    exposure = f"net gamma exposure {levels.net_gex_bn:+,.1f} $bn per 1%"
    heading = f"{title}, {book.chain.quoted:%Y-%m-%d %H:%M} New York: {exposure}"
    figure.suptitle(_literal(heading), fontsize=12)
    _bars(above, levels)
    _profile(below, levels)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.axhline(0, color=QUIET, linewidth=0.8, zorder=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    footer = textwrap.fill(f"dealers' side: {book.rules.text}", FOOTER_LETTERS)
    figure.supxlabel(_literal(footer), fontsize=8, color=SPOT)


def _literal(text: str) -> str:
    """Text as it is: between two dollar signs matplotlib would read a formula."""
    return printable(text).replace("$", r"\$")


def _bars(axes: Any, levels: GammaLevels) -> None:
    """Exposure by strike, summed over bins of a round width, since many strikes are only five points apart."""
    spot, by_strike = levels.spot, levels.by_strike
    width = _round_width(2 * STRIKES_SHOWN * spot / BARS)
    number = np.floor(by_strike["strike"].to_numpy() / width + 0.5)
    near = np.abs(number * width / spot - 1) <= STRIKES_SHOWN
    bins, which = np.unique(number[near], return_inverse=True)
    for side, colour in (("call", CALLS), ("put", PUTS)):
        exposure = np.bincount(which, by_strike[f"{side}_gex_bn"].to_numpy()[near], bins.size)
        axes.bar(bins * width, exposure, 0.8 * width, color=colour, label=f"{side}s", zorder=2)
    axes.set_ylabel(f"$bn per 1% move, strikes of {width:g} points")
    _marks(axes, levels, STRIKES_SHOWN)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _profile(axes: Any, levels: GammaLevels) -> None:
    profile = levels.profile
    near = np.abs(profile["price"] / levels.spot - 1) <= STRIKES_SHOWN
    price, net = profile["price"][near].to_numpy(), profile["net_gex_bn"][near].to_numpy()
    axes.plot(price, net, color=NET, linewidth=1.6, zorder=3)
    axes.fill_between(price, net, 0, where=net >= 0, color=CALLS, alpha=0.15, interpolate=True, linewidth=0)
    axes.fill_between(price, net, 0, where=net <= 0, color=PUTS, alpha=0.15, interpolate=True, linewidth=0)
    axes.set_ylabel("net, $bn per 1% move")
    axes.set_xlabel("index")
    _marks(axes, levels, STRIKES_SHOWN)


def _marks(axes: Any, levels: GammaLevels, spot_range: float) -> None:
    """Draw spot, walls and zero gamma as lines, with their names at the top."""
    marks = [("spot", levels.spot, SPOT, "-")]
    walls = [wall for wall in (levels.call_wall, levels.put_wall) if wall is not None]
    colours = {"call": CALLS, "put": PUTS}
    wrong = {"call": ", below spot", "put": ", above spot"}
    for wall in walls:
        name = f"{wall.side} wall {wall.strike:,.0f}{'' if wall.as_expected else wrong[wall.side]}"
        marks.append((name, wall.strike, colours[wall.side], "--"))
    marks += [(f"zero gamma {c.price:,.0f}", c.price, NET, ":") for c in levels.crossings]
    # Room for the names above whatever is drawn.
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + HEADROOM * (top - bottom))
    shown = sorted(
        (mark for mark in marks if abs(mark[1] / levels.spot - 1) <= spot_range), key=lambda mark: mark[1]
    )
    for place, (name, price, colour, style) in enumerate(shown):
        axes.axvline(price, color=colour, linestyle=style, linewidth=1.0, zorder=1)
        axes.annotate(
            name,
            (price, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -9 - 10 * (place % 4)),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )
    axes.set_xlim(levels.spot * (1 - spot_range), levels.spot * (1 + spot_range))


def _round_width(least: float) -> float:
    """Smallest width, 1, 2, 2.5 or 5 times a power of ten, that is at least so large."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(
        next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= least * (1 - 1e-12))
    )
