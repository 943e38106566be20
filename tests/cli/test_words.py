"""Words of options: a wrong value is refused early, by the option's own name, on one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli_runner import gammawall
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv

from sim.batch import local_cluster
from sim.cli.options import in_options
from sim.errors import InputError, Problem
from sim.fit.tables import checked_day

LONG = "9" * 5000
BATCH = """
schema = 1
name = "b"
base = "no-dealers"
paths = 20
[set]
"market.sessions" = 2
[grid]
vol = [{ label = "LABEL", set = { "volatility.annual" = 0.2 } }]
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch", "story", "--shard", f"0/{LONG}"], "is no share such as 0/3"),
        (["run", "--threads", LONG], "is not a valid whole number"),
        (["run", "--threads", "9999999999999"], "'--threads': 9999999999999 is not in the range 1<=x<=4096"),
        (["bench", "--threads", "1,5000"], "'5000' is not between 1 and 4096"),
        (["run", "--seed", "x"], "'x' is not a valid whole number"),
        (["run", "--upper", "nan"], "'--upper': nan is no finite number"),
        (["run", "--lower", "inf"], "'--lower': inf is no finite number"),
        (["bench", "--csv", ""], "'--csv': the path is empty"),
        (["run", "--out", ""], "'--out': the path is empty"),
        (["run", "--with", ""], "'--with': the path is empty"),
        (["run", "--chain", ""], "'--chain': the path is empty"),
        (["merge", "", "--out", "x"], "the path is empty"),
        (["bench", "--overwrite"], "--overwrite is about --csv, which is not given"),
        (["bench", "--engines", "numpy", "--devices", "0"], "error: --devices: 0 (of the engines named"),
        (["run", "--set", "name=."], "is no name of a folder"),
        (["run", "--set", f"market.spot={LONG}"], "(is too large). Try a plain number."),
        (["batch", "story", "--scheduler", "tcp://u:secret@h:1"], "--scheduler: 'tcp://…@h:1' (has a user"),
        (["batch", "story", "--scheduler", "tls://h:1", "--tls-ca", "no"], "error: --tls-c"),
        (["sensitivity", "--bump", "10%%"], "'10%%' is no share"),
        (["sensitivity", "--bump", "1e-300"], "'1e-300' is no share between 0 and 1, 1e-06 at least"),
        (
            ["run", "--chain", "c", "--group", "a=7020:7000"],
            "(the lower strike comes first). Try a=7000:7020.",
        ),
    ],
    ids=lambda given: " ".join(given)[:40] if isinstance(given, list) else "",
)
def test_a_wrong_value_is_refused_by_the_name_of_its_option(arguments: list[str], said: str) -> None:
    done = gammawall(*arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr) < 1500


def test_a_value_forges_no_message() -> None:
    for arguments in (
        ["--out", "/dev/null/a\nerror: b"],
        ["--set", 'name="a\nerror: b"'],
        ["--set", "volatility.quoted=a\nerror: b"],
    ):
        done = gammawall("run", "no-dealers", "--paths", "10", *arguments)
        assert done.exit_code, done.output
        assert not any(line.startswith("error: b") for line in done.stderr.splitlines()), done.stderr
    done = gammawall("run", "no-dealers", "--paths", "10", "--out", "a\nb")
    assert done.stderr == "results: a\\x0ab\n"
    assert "\n" not in str(Problem("a\nb", "c\nd", "e", "f\ng", "h\ni"))


def test_names_of_catalysts_and_labels_have_no_control_characters() -> None:
    catalyst = (
        'catalyst=[{session=2026-02-12, name="a\\nb", outcomes=[{probability=1.0, mean=0.0, sd=0.01}]}]'
    )
    done = gammawall("scenario", "check", "no-dealers", "--set", catalyst)
    assert done.exit_code == 2
    assert "name" in done.stderr
    assert "has a control character" in done.stderr
    for label, code in (("half\\n", 2), ("half", 0)):
        Path("b.toml").write_text(BATCH.replace("LABEL", label), encoding="utf-8")
        done = gammawall("batch", "b.toml", "--dry-run")
        assert done.exit_code == code, done.output
        assert ("label" in done.stderr and "has a control character" in done.stderr) == bool(code)


def test_the_threads_recorded_are_those_that_had_work() -> None:
    done = gammawall(
        "run", "no-dealers", "--paths", "10", "--engine", "numpy", "--threads", "900", "--out", "x"
    )
    assert done.exit_code == 0, done.output
    assert "1 thread\n" in done.stdout
    assert json.loads(Path("x", "manifest.json").read_text(encoding="utf-8"))["threads"] == 1


def test_one_case_is_one() -> None:
    Path("b.toml").write_text(BATCH.replace("LABEL", "half"), encoding="utf-8")
    done = gammawall("batch", "b.toml", "--only", "base", "--out", "x")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[-1].startswith("1 case finished")


def test_a_group_without_options_is_a_warning() -> None:
    text = quotedata_csv(listings=many_listings(QUOTED, SPOT, 2, 30))
    Path("c.csv").write_text(text, encoding="utf-8")
    done = gammawall("book", "c.csv", "--no-save", "--json", "--group", "a=1:2")
    assert done.exit_code == 0, done.output
    assert "no option of the book has a strike of the group a, 1 to 2" in done.stdout


def test_a_day_out_of_range_has_a_hint_for_the_command_line() -> None:
    import datetime as dt

    with pytest.raises(InputError, match=r"^--as-of: 0001-01-01 .* Try 2026-02-10\.$"), in_options("as_of"):
        checked_day("as_of", dt.date(1, 1, 1))


def test_a_limit_on_open_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for limit, said in (
        (20, "Too many open files, perhaps: the limit is 20. Try ulimit -n 320."),
        (resource.RLIM_INFINITY, ""),
        (4096, ""),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert local_cluster.few_files(2) == said
