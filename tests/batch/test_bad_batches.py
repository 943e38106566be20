"""Batch files that are wrong: every problem at once, each with its place, and never another exception."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sample_batch import IMPACT, WALL, batch_data, batch_of, single
from support.sample_scenario import refusal

from sim.batch import file as batch_file
from sim.batch.file import batch_from_mapping, load_batch
from sim.errors import InputError


def problems(**edits: Any) -> list[str]:
    return str(refusal(lambda: batch_from_mapping(batch_data(**edits), "my.toml"))).splitlines()


@pytest.mark.parametrize(
    ("edits", "line"),
    [
        ({"pahts": 5}, "my.toml: pahts = 5 (unknown key). Try paths."),
        (
            {"paths": "many"},
            'my.toml: paths = "many" (a whole number is expected). '
            "Try a plain integer such as 13, without quotes or decimals.",
        ),
        ({"paths": 0}, "my.toml: paths = 0 (must be at least 1). Try a value of 1 or more."),
        ({"seed": -1}, "my.toml: seed = -1 (must be at least 0). Try a value of 0 or more."),
        ({"target_se": 0.5}, "my.toml: target_se = 0.5 (must be less than 0.5). Try a value less than 0.5."),
        ({"schema": 2}, "my.toml: schema = 2 (is not the version of these keys). Try schema = 1."),
        ({"name": ""}, 'my.toml: name = "" (is empty). Try a short name such as "my-scenario".'),
        ({"base": ""}, 'my.toml: base = "" (is empty). Try a name.'),
        (
            {"volatility_held": "implied"},
            'my.toml: volatility_held = "implied" (is none of the possible values). '
            "Try 'observed' or 'fundamental'.",
        ),
        ({"set": 5}, 'my.toml: set = 5 (a table is expected). Try set = { "market.spot" = 6900 }.'),
        (
            {"grid": {IMPACT: []}},
            f'my.toml: grid."{IMPACT}" = [] (has too few items, at least 1 is needed). Try more items.',
        ),
        (
            {"case": {"name": "x"}},
            'my.toml: case = { name = "x" } (a list is expected). '
            "Try [[case]], in double brackets, and under it name and set.",
        ),
        (
            {"case": [{"name": "x"}]},
            "my.toml: case[0].set (the key is required but missing). Try adding set = ... to case[0].",
        ),
        (
            {"case": [{"name": "x", "set": {}, "base": "y"}]},
            'my.toml: case[0].base = "y" (unknown key). Known here: name, set.',
        ),
        (
            {"max_paths": 5_000_000},
            "my.toml: max_paths = 5000000 (limits target_se, which is not given). Try leaving it out.",
        ),
        (
            {"target_se": 0.01, "max_paths": 5, "paths": 6},
            "my.toml: max_paths = 5 (is less than paths). Try leaving it out.",
        ),
        (
            {"baseline": "siege", "case": [single("sieg")], "grid": {IMPACT: [1]}},
            'my.toml: baseline = "siege" (is no case). '
            "Try leaving it out, or one of: sieg, impact_bp_per_bn=1.",
        ),
        (
            {"case": [single("x"), single("x")]},
            'my.toml: name = "x" (two cases have this name). Try another name.',
        ),
        (
            {"grid": {IMPACT: [1, 2, 1]}},
            f'my.toml: grid."{IMPACT}"[2] = 1 (is the same value as 1 before it). Try leaving one of them out.',
        ),
        (
            {"grid": {"drift.annual": [0, 0.5, -0.0]}},
            'my.toml: grid."drift.annual"[2] = -0.0 (is the same value as 0 before it). '
            "Try leaving one of them out.",
        ),
        (
            {"grid": [{IMPACT: [1]}]},
            f'my.toml: grid = [{{ "{IMPACT}" = [1] }}] (a table is expected). '
            'Try [grid], in single brackets, and under it "market.spot" = [6900, 6950].',
        ),
        ({"baseline": "x"}, 'my.toml: baseline = "x" (is no case). Try leaving it out.'),
        (
            {"base": "story"},
            'my.toml: base = "story" (is a batch; the base of one is a scenario). '
            "Try siege-of-7000, or a scenario's file.",
        ),
        (
            {"grid": {"market.until": ["2026-03-20"], "market.sessions": [9]}},
            'my.toml, case "until=2026-03-20 sessions=9": market.sessions (contradicts market.until, which the same '
            "case states). Try only one of them.",
        ),
        (
            {
                "case": [
                    single("x", **{f"dealers__position[0]__{size}": 5 for size in ("gex_bn", "contracts")})
                ]
            },
            'my.toml, case "x": dealers.position[0].contracts (contradicts dealers.position[0].gex_bn, which the '
            "same case states). Try only one of them.",
        ),
        (
            {"case": [single("x", targets__uper=7200)]},
            'my.toml, case "x": targets.uper = 7200 (unknown key). Try upper.',
        ),
        (
            {"grid": {"": [1]}},
            'my.toml, case "=1": "" = 1 (is no key). Try a dotted path such as dealers.position[0].strike.',
        ),
        (
            {"grid": {"volatility.tail_dof*": ["x"]}},
            'my.toml, case "tail_dof*x": volatility.tail_dof* = "x" (the factor is no number, so there is nothing '
            "to multiply). Try volatility.tail_dof=... .",
        ),
    ],
)
def test_words(edits: dict[str, Any], line: str) -> None:
    assert problems(**edits) == [line]


def test_true_is_not_the_value_1() -> None:
    found = problems(grid={IMPACT: [1, True]})
    assert len(found) == 1
    assert "true (a number is expected)" in found[0]


def test_what_all_cases_share_a_case_may_overrule() -> None:
    batch = batch_of(set={"market.until": dt.date(2026, 3, 20)}, grid={"market.sessions": [5, 9]})
    horizons = [
        (case.scenario.market.until, case.scenario.market.sessions) for case in batch.cases if case.scenario
    ]
    assert horizons == [(dt.date(2026, 3, 20), None), (None, 5), (None, 9)]


@pytest.mark.parametrize("label", [["x"], {"x": 1}])
def test_labels_are_texts(label: Any) -> None:
    found = problems(grid={"dealers": [{"label": "good", "set": {}}, {"label": label, "set": {}}]})
    assert [line.partition(" = ")[0] for line in found] == ["my.toml: grid.dealers[1].label"]
    assert found[0].endswith('(a short text is expected). Try label = "half".')
    numbers = batch_of(grid={"dealers": [{"label": number, "set": {IMPACT: number}} for number in (1, 0.5)]})
    assert [case.name for case in numbers.cases] == ["base", "dealers=1", "dealers=0.5"]


def test_a_batch_file_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "inner.toml").write_text(tomli_w.dumps(batch_data(grid={IMPACT: [1]})))
    outer = tmp_path / "outer.toml"
    outer.write_text(tomli_w.dumps(batch_data(base="inner.toml")))
    told = str(refusal(lambda: load_batch(outer)))
    assert told.startswith(f"{outer}: base = ")
    assert "is a batch; the base of one is a scenario" in told
    told = str(refusal(lambda: load_batch("horizon", base="story")))
    assert told.startswith('--base: "story" (is a batch')
    # a scenario file with problems of its own has those
    broken = tmp_path / "broken.toml"
    broken.write_text('schema = 1\nname = "x"\nbase = "y"\n[market]\nspot = 1\n')
    assert "is a batch" not in str(refusal(lambda: load_batch("horizon", base=str(broken))))


def test_labelled_values_must_all_be_complete() -> None:
    good = {"label": "a", "set": {}}
    bad = [5, {"label": "b"}, {"label": "c", "set": 5}, {"label": "d", "set": {}, "more": 1}]
    found = problems(grid={"dealers": [good, *bad]})
    assert [line.partition(" = ")[0] for line in found] == [
        f"my.toml: grid.dealers[{i}]" for i in range(1, 5)
    ]
    assert all("is { label = ..., set = { key = value } }" in line for line in found)
    assert problems(grid={"dealers": [5, good]})[0].startswith(
        "my.toml: grid.dealers[0] = 5 (a value with a label"
    )


def test_problems_of_all_cases_are_reported_together() -> None:
    found = problems(
        case=[single("one", market__spot=-1), single("two", market__spot=-1, levels=7), single("good")],
        grid={f"{WALL}*": [1, "x"], IMPACT: [-1, 2, -2]},
    )
    assert found == [
        'my.toml, case "one" and 1 more: market.spot = -1 (must be at least 0.001). Try a value of 0.001 or more.',
        'my.toml, case "two": levels = 7 (a list is expected). Try [ ... ].',
        'my.toml, case "gex_bn*1 impact_bp_per_bn=-1" and 1 more: dealers.impact_bp_per_bn = -1 '
        "(must be at least 0). Try a value of 0 or more.",
        'my.toml, case "gex_bn*1 impact_bp_per_bn=-2" and 1 more: dealers.impact_bp_per_bn = -2 '
        "(must be at least 0). Try a value of 0 or more.",
        'my.toml, case "gex_bn*x impact_bp_per_bn=-1" and 2 more: dealers.position[wall].gex_bn* = "x" '
        "(the factor is no number, so there is nothing to multiply). Try dealers.position[0].gex_bn=... .",
    ]


def test_a_problem_of_every_case_is_told_once() -> None:
    (line,) = problems(set={"market.spot": -1}, grid={IMPACT: list(range(1500))})
    assert line.startswith('my.toml, case "base" and 1,500 more: market.spot = -1 ')


def test_keys_of_the_file_are_reported_together() -> None:
    found = problems(pahts=5, seed="x", case=[{"name": "a/b", "set": {}}], grid=[])
    assert [line.split(" ")[1] for line in found] == ["seed", "grid", "case[0].name", "pahts"]


def test_too_many_cases_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(grid={IMPACT: list(range(200)), "drift.annual": [i / 1000 for i in range(101)]})
    assert line == "my.toml: grid (makes 20,200 cases, at most 20,000 are possible). Try fewer values."
    monkeypatch.setattr(batch_file, "MOST_CASES", 4)
    assert (
        len(batch_from_mapping(batch_data(grid={IMPACT: [1, 2], "drift.annual": [0, 0.1]}), "w").cases) == 5
    )
    assert problems(grid={IMPACT: [1, 2, 3, 4, 5]}) != []


def test_files_that_are_no_batch(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_batch("storey")
    assert str(caught.value) == (
        "storey: is no built-in batch, and no path: a path has a separator or ends in .toml. "
        "Try story; built in are horizon, model-risk, story, wall-strength."
    )
    file = tmp_path / "a.toml"
    for content, why in (("", "is empty"), ("a = ", "is not valid TOML"), ("a\0", "is a binary file")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=why):
            load_batch(file)
    with pytest.raises(InputError, match="is a directory, not a batch file"):
        load_batch(tmp_path)
    file.write_text(tomli_w.dumps(batch_data(base="siege")), encoding="utf-8")
    with pytest.raises(InputError, match=r"^siege: is no built-in scenario"):
        load_batch(file)


# --- anything at all

VALUES = st.recursive(
    st.one_of(
        st.integers(-(10**20), 10**400),
        st.integers(-2, 9),
        st.floats(),
        st.booleans(),
        st.text(max_size=8),
        st.dates(),
        st.sampled_from(["base", "a", dt.time(1, 2), dt.datetime(2026, 2, 10)]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
STARS = st.sampled_from(["", "*", " * ", "**"])
KNOWN = """market.spot market.sessions volatility.steps_per_session volatility.tail_dof catalyst regime name levels
    levels[0] dealers dealers.position dealers.position[wall].gex_bn dealers.position[0] regime[breakout].weights.wall
    regime[breakout].weights regime[9].level jumps x.y"""
PATHS = st.sampled_from(KNOWN.split())
KEYS = st.builds(str.__add__, PATHS | st.text(max_size=6), STARS)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=3)
LABELLED = st.fixed_dictionaries({"label": VALUES, "set": SETTINGS})
GRIDS = st.dictionaries(KEYS, st.lists(VALUES | LABELLED, max_size=3), max_size=2)
CASES = st.lists(st.fixed_dictionaries({"name": st.text(max_size=6), "set": SETTINGS}), max_size=2)
TABLES = st.fixed_dictionaries(
    {"schema": st.just(1), "name": st.just("x")},
    optional={
        "set": SETTINGS,
        "grid": GRIDS,
        "case": CASES,
        "baseline": st.sampled_from(["base", "a"]),
        "volatility_held": st.sampled_from(["observed", "fundamental"]),
    },
)


def check_batch_or_refusal(data: dict[str, Any]) -> None:
    try:
        batch = batch_from_mapping(data, "f.toml")
    except InputError as error:
        for line, problem in zip(str(error).splitlines(), error.problems, strict=True):
            assert line.startswith("f.toml")
            assert line.isprintable()
            assert problem.why
    else:
        assert len({case.name for case in batch.cases}) == len({case.folder for case in batch.cases})
        assert len(batch.cases) == len({case.name for case in batch.cases})
        assert batch.baseline_case.scenario is not None
        assert len(batch.digest) == 64


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(TABLES)
def test_any_settings_make_a_batch_or_are_refused(data: dict[str, Any]) -> None:
    check_batch_or_refusal(data)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*batch_file.BatchTable.model_fields, "schema", "x y"]), VALUES, max_size=6
    )
)
def test_any_table_makes_a_batch_or_is_refused(data: dict[str, Any]) -> None:
    data.pop("base", None)  # a file anywhere on the disk
    check_batch_or_refusal({"schema": 1, "name": "x", **data})


def test_keys_without_quotes_are_keys_all_the_same() -> None:
    """TOML makes tables of them: what else the table holds must stay as it is."""
    bare = batch_of(case=[{"name": "bare", "set": {"dealers": {"impact_bp_per_bn": 1.0}}}]).cases[1]
    quoted = batch_of(case=[{"name": "bare", "set": {"dealers.impact_bp_per_bn": 1.0}}]).cases[1]
    assert bare == quoted
    assert bare.scenario is not None
    assert len(bare.scenario.dealers.position) > 0


def test_grids_of_keys_without_quotes_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"grid\.market \(a list .* expected\)\. Try the whole key in quotes"
    ):
        batch_of(grid={"market": {"spot": [6900.0]}})


def test_a_case_is_not_named_by_a_setting() -> None:
    with pytest.raises(InputError, match="a case's name is the key beside set"):
        batch_of(case=[{"name": "x", "set": {"name": "y"}}])
