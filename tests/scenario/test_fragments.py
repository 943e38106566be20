from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from support.cli_runner import gammawall

from sim.batch.file import load_batch
from sim.errors import InputError
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario
from sim.scenario.fragments import Fragment, merged, read_fragment, read_fragments

VOL = """[fit]
kind = "volatility"
[volatility]
annual = 0.123
alpha = 0.01
gamma = 0.2
beta = 0.85
tail_dof = 5.0
"""


def file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_keys_take_the_place_of_the_scenarios(tmp_path: Path) -> None:
    fragment = read_fragment(file(tmp_path, "vol.toml", VOL))
    assert fragment.fit == {"kind": "volatility"}
    scenario = load_scenario("siege-of-7000", fragments=[fragment])
    plain = load_scenario("siege-of-7000")
    assert (scenario.volatility.annual, scenario.volatility.tail_dof) == (0.123, 5.0)
    assert scenario.volatility.overnight_share == plain.volatility.overnight_share
    assert scenario.dealers == plain.dealers


def test_later_fragments_and_overrides_come_last(tmp_path: Path) -> None:
    read = read_fragments(
        [file(tmp_path, "a.toml", VOL), file(tmp_path, "b.toml", "[volatility]\nannual = 0.2\nbeta = 0.8\n")]
    )
    scenario = load_scenario("siege-of-7000", ["volatility.beta=0.7"], read)
    assert (scenario.volatility.annual, scenario.volatility.beta) == (0.2, 0.7)


def test_rivals_give_way(tmp_path: Path) -> None:
    fragment = read_fragment(file(tmp_path, "short.toml", "[market]\nsessions = 3\n"))
    scenario = load_scenario("siege-of-7000", fragments=[fragment])
    assert (scenario.market.sessions, scenario.market.until) == (3, None)


def test_lists_are_replaced_as_a_whole(tmp_path: Path) -> None:
    fragment = read_fragment(file(tmp_path, "levels.toml", "levels = [7050]\n"))
    assert load_scenario("siege-of-7000", fragments=[fragment]).levels == (7050.0,)


def test_neither_scenario_nor_fragment_is_changed() -> None:
    data = {"volatility": {"annual": 0.1}}
    fragment = Fragment("x", {"volatility": {"annual": 0.2}}, {})
    result, places = merged(data, [fragment])
    assert result == {"volatility": {"annual": 0.2}}
    assert data == {"volatility": {"annual": 0.1}}
    assert places == {"volatility.annual": "x"}


def test_a_problem_names_the_fragment_it_is_from(tmp_path: Path) -> None:
    path = file(tmp_path, "vol.toml", VOL.replace("0.123", "-1").replace("tail_dof", "dof"))
    with pytest.raises(InputError) as refused:
        load_scenario("siege-of-7000", ["targets.upper=1"], read_fragments([path]))
    placed = {problem.key: problem.where for problem in refused.value.problems}
    assert placed == {"volatility.annual": str(path), "volatility.dof": str(path), "targets.upper": "--set"}


def test_dates_and_a_book_beside_the_fragment(tmp_path: Path) -> None:
    rows = "strike,expiry,type,settlement,iv,contracts,group\n7000,2026-03-20,call,PM,0.12,10,wall2\n"
    (tmp_path / "own").mkdir()
    file(tmp_path / "own", "book.csv", rows)
    path = file(tmp_path / "own", "f.toml", '[market]\nuntil = 2026-03-06\n[dealers]\nbook = "book.csv"\n')
    scenario = load_scenario("siege-of-7000", fragments=[read_fragment(path)])
    assert scenario.market.until == dt.date(2026, 3, 6)
    assert scenario.dealers.groups[-1] == "wall2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ('[fit]\nkind = "volatility"\n', "states no key of a scenario"),
        ("fit = 3\n[volatility]\nannual = 0.1\n", "a table is expected"),
        ("[volatility\n", "is not valid TOML"),
    ],
)
def test_files_that_are_no_fragments(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        read_fragment(file(tmp_path, "f.toml", text))


def test_all_bad_fragments_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_fragments([tmp_path / "none.toml", file(tmp_path, "f.toml", "")])
    assert len(refused.value.problems) == 2
    assert str(refused.value.problems[0]).endswith("no such file. Try a path that exists.")


@pytest.mark.parametrize(
    "command", ["run", "trace 7", "check", "bench", "sensitivity", "batch story", "scenario show"]
)
def test_every_command_that_takes_a_scenario_takes_fragments(command: str, tmp_path: Path) -> None:
    wrong = file(tmp_path, "wrong.toml", "[volatility]\nannual = -0.1\n")
    words = command.split()
    scenario = ["siege-of-7000"] if command == "scenario show" else []
    result = gammawall(*words, *scenario, "--with", str(wrong))
    assert result.exit_code == 2
    assert "wrong.toml" in result.stderr
    assert "volatility.annual" in result.stderr


def test_a_batch_varies_the_base_with_its_fragments(tmp_path: Path) -> None:
    fragment = read_fragment(file(tmp_path, "vol.toml", VOL))
    cases = load_batch("story", fragments=[fragment]).cases
    assert len(cases) > 1
    assert {case.scenario.volatility.tail_dof for case in cases if case.scenario} == {5.0}


def test_a_manifest_tells_the_fragments(tmp_path: Path) -> None:
    text = VOL.replace('kind = "volatility"', 'kind = "volatility"\nlast = 2020-03-16')
    path = file(tmp_path, "vol.toml", text)
    done = gammawall(
        "run", "siege-of-7000", "--with", str(path), "--paths", "500", "--out", str(tmp_path / "out")
    )
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    (record,) = manifest["fragments"]
    assert record["file"] == "vol.toml"
    assert record["keys"]["volatility"]["annual"] == 0.123
    assert record["fit"] == {"kind": "volatility", "last": "2020-03-16"}
    assert "session after 2020-03-16" in " ".join(manifest["warnings"])
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("[fit]\nerror = nan", "fit.error", "finite"),
        ("[fit]\nrows = [{ x = inf }]", "fit.rows[0].x", "finite"),
        (f"[fit]\nn = 1{'0' * 400}", "fit.n", "64 bits"),
        (f"[fit]\n{'.'.join('a' * 3000)} = 1", "fit", "nested"),
        (f"{'.'.join('a' * 3000)} = 1", "a", "nested"),
        (f"[fit]\nx = {'[' * 50}{']' * 50}", "fit", "nested"),
        ("[volatility]\nannual = nan", "volatility.annual", "finite"),
    ],
)
def test_a_fragment_that_no_manifest_can_record_is_refused(
    tmp_path: Path, text: str, key: str, why: str
) -> None:
    path = file(tmp_path, "odd.toml", f"levels = [7050]\n{text}\n")
    with pytest.raises(InputError) as refused:
        read_fragment(path)
    (problem,) = refused.value.problems
    assert (problem.where, problem.key, why in problem.why) == (str(path), key, True)


@pytest.mark.parametrize(
    ("fragment", "key"),
    [
        (Fragment("x", {"levels": [7050.0]}, {"error": float("nan")}), "fit.error"),
        (Fragment("x", {"levels": [10**400]}, {}), "levels[0]"),
        (Fragment("\udcff", {"levels": [7050.0]}, {}), "where"),
        (Fragment("x", {"levels": [7050.0]}, {"n": None}), "fit.n"),
    ],
)
def test_a_fragment_made_in_python_is_refused_likewise(fragment: Fragment, key: str) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario("siege-of-7000", fragments=[fragment])
    assert [(p.where, p.key) for p in refused.value.problems] == [("fragments[0]", key)]
    with pytest.raises(InputError):
        simulate("siege-of-7000", paths=1, fragments=[fragment])


def test_a_table_that_a_fragment_adds_is_its_own(tmp_path: Path) -> None:
    path = file(tmp_path, "typo.toml", '[dealer]\nimpact_bp_per_bn = 1\n[market]\n"a b" = 1\n[drift]\n')
    with pytest.raises(InputError) as refused:
        load_scenario("siege-of-7000", {"drift.annual": -9}, read_fragments([path]))
    placed = {problem.key: problem.where for problem in refused.value.problems}
    assert placed == {"dealer": str(path), 'market."a b"': str(path), "drift.annual": "overrides"}


def test_a_manifest_is_ready_for_json(tmp_path: Path) -> None:
    text = (
        "[fit]\nlast = 2026-02-10\nread = 2026-02-10T10:00:00\nat = 10:00:00\n[volatility]\nannual = 0.12\n"
    )
    path = file(tmp_path, "dates.toml", text)
    done = gammawall("run", "no-dealers", "--with", str(path), "--paths", "50", "--no-save", "--json")
    assert done.exit_code == 0, done.output
    (record,) = json.loads(done.stdout)["manifest"]["fragments"]
    assert record["fit"] == {"last": "2026-02-10", "read": "2026-02-10T10:00:00", "at": "10:00:00"}


@pytest.mark.parametrize("save", ["--no-save", "--json", "--quiet"])
def test_no_run_is_simulated_whose_manifest_cannot_be_written(tmp_path: Path, save: str) -> None:
    """The value is overruled, and so never reaches the scenario; the record of the fragment would hold it."""
    path = file(tmp_path, "nan.toml", "[volatility]\nannual = nan\n[fit]\nerror = inf\n")
    options = ["--set", "volatility.annual=0.1", "--out", str(tmp_path / "out")]
    done = gammawall(
        "run", "no-dealers", "--with", str(path), *options, *([save] if save != "--no-save" else [])
    )
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        f"error: {path}: volatility.annual = nan (must be finite). Try a plain number.",
        f"error: {path}: fit.error = inf (must be finite). Try a plain number.",
    ]
    assert not (tmp_path / "out").exists()


def test_a_book_beside_a_fragment_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "odd\nname"
    folder.mkdir()
    rows = "strike,expiry,type,settlement,iv,contracts,group\n7000,2026-03-20,call,PM,0.12,10,wall2\n"
    file(folder, "own.csv", rows)
    fragment = read_fragment(file(folder, "book.toml", '[dealers]\nbook = "own.csv"\n'))
    assert load_scenario("no-dealers", fragments=[fragment]).dealers.groups == ("wall2",)


def test_a_fragment_that_holds_itself_has_a_short_text() -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    assert repr(Fragment("x", loop, {})) == 'Fragment("x": is nested more than 20 deep)'


def test_a_folder_is_a_path(tmp_path: Path) -> None:
    keys = {"dealers": {"book": "none.csv"}}
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        load_scenario("no-dealers", (), [Fragment("x", keys, {}, str(tmp_path))])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"fragments\[0\]\.folder = 5 \(the path of a folder is expected"):
        load_scenario("no-dealers", (), [Fragment("x", keys, {}, 5)])  # type: ignore[arg-type]
