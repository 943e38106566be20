"""The command book: make a dealers' book of an option chain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.cli.chain_options import CHAIN_FORMATS, chain_options, read_book, refuse_contradictory_signs
from sim.cli.delivery import Delivery
from sim.cli.messages import tell
from sim.cli.options import JSON, KEPT, PATH, echo, print_json, refuse_silence
from sim.errors import GammawallError, error_text

if TYPE_CHECKING:
    from sim.chain.book import ChainBook
    from sim.chain.levels import GammaLevels
    from sim.scenario.model import Scenario

SMALLEST_SPOT_RANGE, LARGEST_SPOT_RANGE = 0.01, 0.9


def read_spot_range(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Reader of a share of spot, 0.01 to 0.9."""
    try:
        spot_range = float(value)
    except ValueError:
        spot_range = math.nan
    if (
        not SMALLEST_SPOT_RANGE <= spot_range <= LARGEST_SPOT_RANGE
    ):  # nor NaN, which click's own ranges let through
        raise click.BadParameter(
            f"{value!r} is no share of spot from {SMALLEST_SPOT_RANGE} to {LARGEST_SPOT_RANGE}."
        )
    return spot_range


@click.command(epilog=f"Formats of CHAIN: {CHAIN_FORMATS}.")
@click.argument("chain", type=PATH)
@chain_options
@click.option(
    "--range",
    "spot_range",
    metavar="SHARE",
    callback=read_spot_range,
    default="0.25",
    show_default=True,
    help="Look for zero-gamma prices within this share of spot on either side.",
)
@click.option("--out", type=PATH, help="Folder for the book.  [default: results/book-<chain>]")
@click.option("--no-save", is_flag=True, help="Write no files.")
@click.option("--overwrite", is_flag=True, help="Replace an existing book folder.")
@click.option("--parquet", is_flag=True, help="Write the book file as Parquet rather than CSV.")
@click.option(
    "--verbose",
    is_flag=True,
    help="Print every expiry, its carry, and the exposure worked out in three ways.",
)
@JSON
@click.option("--quiet", is_flag=True, help="Print only the folder of the book.")
@click.pass_context
def book(
    ctx: click.Context,
    /,
    chain: Path,
    *,
    spot_range: float,
    out: Path | None,
    no_save: bool,
    overwrite: bool,
    parquet: bool,
    verbose: bool,
    as_json: bool,
    quiet: bool,
    **of_chain: Any,
) -> None:
    """Find the dealers' walls in an option CHAIN.

    Prints walls, zero-gamma prices and gamma exposure. Writes the book as a file for a scenario's dealers.book, with
    tables, a picture and a scenario that runs as it is.
    """
    if no_save and (out is not None or overwrite or parquet):
        raise click.UsageError("--no-save contradicts --out, --overwrite and --parquet.")
    refuse_silence(quiet=quiet, no_save=no_save, as_json=as_json)
    refuse_contradictory_signs(of_chain)

    from sim.chain.folder import BOOK, BOOK_FOLDER, PARQUET, book_document, book_files
    from sim.chain.levels import find_gamma_levels
    from sim.files.output_folder import Saved, prepare_output, save_folder
    from sim.files.table_files import refuse_parquet_without_pyarrow

    if parquet:
        refuse_parquet_without_pyarrow()
    found = read_book(chain, of_chain)
    place = None
    if not no_save:
        place = prepare_output(f"book-{Path(found.chain.source).stem}", BOOK_FOLDER, out, overwrite=overwrite)
    levels = find_gamma_levels(found, spot_range)
    saved = Saved(None, (), whole=False)
    if place is not None:
        scenario, why = _scenario(found, levels, chain, PARQUET if parquet else BOOK)
        picture = _picture(found, levels)
        saved = save_folder(place, book_files(found, levels, scenario, picture, parquet=parquet))
        saved = saved._replace(failures=(*why, *saved.failures))
    folder = saved.folder
    if folder is not None:
        ctx.meta[KEPT] = f"the book is in {folder}"

    def show() -> None:
        if as_json:
            results = None if folder is None else str(folder)
            print_json({**book_document(found, levels), "results": results})
        elif not quiet or (saved.failures and not saved.whole):
            from sim.report.book import print_book
            from sim.report.terminal import Terminal

            print_book(found, levels, Terminal(), verbose=verbose)
        elif folder is not None:
            echo(str(folder))

    delivery = Delivery(as_json=as_json, saved=saved.whole, failures=saved.failures)
    delivery.show("the report", show, lambda: _plain(levels))
    if folder is not None and not quiet:
        tell(f"book: {folder}")
    delivery.end()


def _scenario(
    found: ChainBook, levels: GammaLevels, chain: Path, book_file: str
) -> tuple[Scenario | None, tuple[str, ...]]:
    """Scenario that runs with the book, and the reason why there is none."""
    from sim.chain.scenario import scenario_of_chain
    from sim.scenario.writing import with_book_file

    try:
        own = scenario_of_chain(found, levels=levels, where=str(chain))
        return with_book_file(own, book_file), ()
    except GammawallError:
        raise  # what is wrong with the chain, said before anything is written
    except Exception as error:
        return None, (f"{chain}: no scenario can be made of the book ({error_text(error)}).",)


def _plain(levels: GammaLevels) -> dict[str, Any]:
    """Walls, zero-gamma prices and exposure, the numbers that the command is for."""
    names = ("spot", "net_gex_bn", "gross_gex_bn", "call_wall", "put_wall", "crossings")
    return {name: getattr(levels, name) for name in names}


def _picture(found: ChainBook, levels: GammaLevels) -> bytes | None:
    """PNG of the book; None and a warning on stderr if it cannot be made."""
    try:
        from sim.report.pictures import gamma_picture

        return gamma_picture(found, levels)
    except GammawallError as error:
        tell(f"warning: {error}")
    except Exception as error:  # a picture is not worth a book
        tell(f"warning: the picture cannot be made ({error_text(error)}).")
    return None
