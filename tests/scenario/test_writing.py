"""Scenarios written to files: equal when read again, with their books, and never over what is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from support.places import SYNTHETIC_CHAIN

from sim.chain.book import book_of_chain
from sim.chain.files import read_chain
from sim.chain.scenario import ChainScenario, scenario_of_chain
from sim.errors import GammawallError, InputError
from sim.files.atomic_files import replace_file
from sim.plan.builder import prepare
from sim.scenario.file import load_scenario, scenario_hash
from sim.scenario.writing import write_scenario


@pytest.fixture(scope="module")
def of_chain() -> ChainScenario:
    return scenario_of_chain(book_of_chain(read_chain(SYNTHETIC_CHAIN)))


def book_name(scenario: ChainScenario) -> str:
    assert scenario.dealers.book is not None
    return f"mine-book-{scenario.dealers.book.digest[:8]}.csv"


def test_a_scenario_is_equal_when_read_again(tmp_path: Path) -> None:
    before = load_scenario("siege-of-7000", {"dealers.impact_bp_per_bn": 1})
    written = write_scenario(before, tmp_path / "mine.toml")
    assert written == tmp_path / "mine.toml"
    assert load_scenario(written) == before
    assert os.listdir(tmp_path) == ["mine.toml"]


def test_the_book_of_a_chain_is_written_beside_the_scenario(tmp_path: Path, of_chain: ChainScenario) -> None:
    written = write_scenario(of_chain, tmp_path / "mine.toml")
    assert sorted(os.listdir(tmp_path)) == [book_name(of_chain), "mine.toml"]
    again = load_scenario(written)
    assert scenario_hash(again) == scenario_hash(of_chain)
    assert prepare(again).plan.digest == prepare(of_chain).plan.digest
    text = written.read_text(encoding="utf-8")
    assert of_chain.notes
    for note in of_chain.notes:
        assert f"# note: {note}\n" in text


def test_what_is_there_is_replaced_only_if_asked(tmp_path: Path, of_chain: ChainScenario) -> None:
    book = tmp_path / book_name(of_chain)
    book.write_text("mine")
    with pytest.raises(InputError, match=r"\.csv \(exists already\). Try another name, or overwrite="):
        write_scenario(of_chain, tmp_path / "mine.toml")
    assert os.listdir(tmp_path) == [book.name]
    assert book.read_text() == "mine"
    write_scenario(of_chain, tmp_path / "mine.toml", overwrite=True)
    write_scenario(of_chain, tmp_path / "mine.toml", overwrite=True)
    assert load_scenario(tmp_path / "mine.toml") == of_chain


def test_links_are_not_written_through(tmp_path: Path, of_chain: ChainScenario) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / book_name(of_chain)).symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="is there already, and no plain file"):
        write_scenario(of_chain, tmp_path / "mine.toml", overwrite=True)
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("mine", "is no name of a TOML file"),
        ("mi\0ne.toml", "has a null character"),
        ("none/mine.toml", "its folder does not exist"),
        ("\udcff.toml", "has letters that no screen shows"),
    ],
)
def test_paths_that_cannot_be_written_are_refused(tmp_path: Path, file: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        write_scenario(load_scenario("no-dealers"), f"{tmp_path}/{file}")
    assert not os.listdir(tmp_path)


def test_an_overwrite_that_is_no_truth_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    with pytest.raises(InputError, match='overwrite = "no"'):
        write_scenario(load_scenario("no-dealers"), tmp_path / "mine.toml", overwrite="no")  # type: ignore[arg-type]
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_a_former_scenario_keeps_its_book_until_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_chain: ChainScenario
) -> None:
    """The disk is full between the two files."""
    write_scenario(of_chain, tmp_path / "mine.toml")
    rows = of_chain.dealers.book
    assert rows is not None
    fewer = of_chain.model_copy(
        update={"dealers": of_chain.dealers.model_copy(update={"book": rows.taken(np.arange(len(rows) - 1))})}
    )

    def full_for_scenarios(path: Path, content: str | bytes) -> None:
        if path.suffix == ".toml":
            raise OSError(28, "No space left on device")
        replace_file(path, content)

    monkeypatch.setattr("sim.scenario.writing.replace_file", full_for_scenarios)
    with pytest.raises(GammawallError, match=r"mine\.toml: it cannot be written \(No space left"):
        write_scenario(fewer, tmp_path / "mine.toml", overwrite=True)
    assert scenario_hash(load_scenario(tmp_path / "mine.toml")) == scenario_hash(of_chain)


def test_a_failure_of_the_disk_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_chain: ChainScenario
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.scenario.writing.replace_file", full)
    with pytest.raises(GammawallError, match="No space left on device"):
        write_scenario(of_chain, tmp_path / "mine.toml")
