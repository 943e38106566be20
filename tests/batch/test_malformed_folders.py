"""Malformed batch folders: every command gives the right answer or one clear error, and harms nothing."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.batch_results import SHORT
from support.cli_runner import gammawall
from support.finished_batch import NO_DEALERS, simulate_tiny, snapshot, tiny_table, write_document

# No command needs as long, unless it hangs.
MOST_SECONDS = 120
# The numbers; what a manifest tells of engine and warnings has no part in them.
NUMBERS = ("odds.csv", "first_passage.csv", "distribution.csv", "differences.csv")
BATCH, BASE, OTHER = "batch.json", "cases/base/manifest.json", f"cases/{NO_DEALERS}/manifest.json"
Damage = Callable[[Path], None]


@pytest.fixture(autouse=True)
def ended_if_it_hangs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pipe that is waited for, and flushes that only cost time."""

    def end(*_: object) -> None:
        raise AssertionError("the command hangs")

    monkeypatch.setattr(os, "fsync", lambda _: None)
    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parent of a finished batch, `done`, and of its batch file; for reading only."""
    parent = tmp_path_factory.mktemp("whole")
    (parent / "tiny.toml").write_text(tomli_w.dumps(tiny_table()), encoding="utf-8")
    assert batch(parent / "done").exit_code == 0
    return parent


def batch(out: Path, *options: str) -> Result:
    file = next(parent / "tiny.toml" for parent in out.parents if (parent / "tiny.toml").exists())
    overrides = [part for override in SHORT for part in ("--set", override)]
    engine = ("--engine", "numpy", "--threads", "1", "--quiet")
    return gammawall("batch", str(file), "--out", str(out), *overrides, *engine, *options)


def answer(result: Result) -> int:
    """Exit code of a command that has ended well, or told of one clear error."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert result.exit_code in (0, 1, 2, 3)
    if result.exit_code:
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert errors, result.output
        assert all(len(line) < 1000 for line in errors)
    return result.exit_code


def same_numbers(folder: Path, expected: Path) -> bool:
    return all((folder / name).read_bytes() == (expected / name).read_bytes() for name in NUMBERS)


def check_every_command(whole: Path, parent: Path, damage: Damage) -> None:
    """Whatever was done to a finished batch, each command gives its numbers or one clear error."""
    shutil.copy(whole / "tiny.toml", parent)
    for name in ("resumed", "replaced"):
        damage(Path(shutil.copytree(whole / "done", parent / name)))
    before = snapshot(parent / "resumed")
    answer(batch(parent / "resumed", "--resume", "--dry-run"))
    if answer(gammawall("merge", str(parent / "resumed"), "--out", str(parent / "merged"), "--quiet")) == 0:
        assert same_numbers(parent / "merged", whole / "done")
    assert snapshot(parent / "resumed") == before
    for name, option in (("resumed", "--resume"), ("replaced", "--overwrite")):
        before = snapshot(parent / name)
        if answer(batch(parent / name, option)) == 0:
            assert same_numbers(parent / name, whole / "done")
        elif option == "--overwrite":
            assert snapshot(parent / name) == before


# --- texts that are no documents


def texts(document: dict[str, Any]) -> dict[str, bytes]:
    """Malformed contents of a file that should hold this document."""
    text = json.dumps(document)
    rest = text[1:]
    return {
        "empty": b"",
        "a bracket": b"{",
        "null": b"null",
        "a number": b"3",
        "a text": b'"x"',
        "a list": b"[" + text.encode() + b"]",
        "no keys": b"{}",
        "half": text[: len(text) // 2].encode(),
        "more behind": text.encode() + b"x",
        "deep lists": b"[" * 200_000,
        "deep lists inside": b'{"deep": ' + b"[" * 200_000 + b"]" * 200_000 + b", " + rest.encode(),
        "deep objects": b'{"a":' * 100_000,
        "NaN": b'{"paths": NaN, "engine": NaN, "seed": NaN, ' + rest.replace('"paths"', '"x"').encode(),
        "infinity": b'{"more": [Infinity, -Infinity], ' + rest.encode(),
        "more digits than a number may have": b'{"more": ' + b"9" * 5_000 + b", " + rest.encode(),
        "no UTF-8": text.encode() + b"\xff\xfe",
        "UTF-16": text.encode("utf-16"),
        "zeros": bytes(len(text)),
        "half a pair": json.dumps(
            {key: "\ud800" if isinstance(value, str) else value for key, value in document.items()}
        ).encode(),
        "another form": json.dumps({**document, "format": "gammawall-book/1"}).encode(),
        "no form": json.dumps({**document, "format": ["gammawall-batch/1"]}).encode(),
    }


TEXTS = tuple(texts({"": ""}))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", [BATCH, OTHER])
def test_malformed_texts(whole: Path, tmp_path: Path, name: str, text: str) -> None:
    content = texts(json.loads((whole / "done" / name).read_text()))[text]
    check_every_command(whole, tmp_path, lambda folder: (folder / name).write_bytes(content) and None)


# --- documents with wrong keys

GONE = object()
WRONG: dict[str, tuple[Any, ...]] = {
    "format": (GONE, None, 3, {}),
    "name": (GONE, None, 3, ["small"], "\ud800"),
    "description": (GONE, 3),
    "base": (None, {}),
    "baseline": (GONE, None, "nope", "", 3, ["base"]),
    "axes": (GONE, None, {}, "impact", [3], [{}], [{"axis": "a"}], [{"axis": "a", "labels": "b"}]),
    "parameters": (GONE, None, {}, "x", [None], [], ["another"]),
    "paths": (GONE, None, 0, -1, 200.0, "200", True, 2**64, 10**400),
    "seed": (GONE, -1, 2**64, 1.0, 1e300),
    "target_se": (GONE, -0.1, 1, "x", [], 1e-300),
    "max_paths": (GONE, 5, "x"),
    "digest": (GONE, "0" * 64, 3),
    "code": (GONE, 3, "0" * 64),
    "cases": (GONE, None, [], {}, "x", [None], [3], [[]], [{}], [{"name": "base"}]),
}
WRONG_CASE: dict[str, tuple[Any, ...]] = {
    "name": (GONE, None, "base", "", 3, "\udfff"),
    "folder": (GONE, None, "base", "", "..", "../../escaped", "/escaped", 3, "x\0y"),
    "scenario_hash": (GONE, None, "", 3, "0" * 63),
    "status": (GONE, None, "lost", 3),
    "point": (GONE, None, [], {"no axis": "1"}, {"a": 1}),
    "parameters": (GONE, None, [], {"a": 1}, {"no column": "1"}),
}
WRONG_MANIFEST: dict[str, tuple[Any, ...]] = {
    "format": (GONE, None, 3),
    "batch": (GONE, None, 3, "another"),
    "case": (GONE, None, 3, "another", "\ud800", "../../escaped"),
    "case_key": (GONE, None, 3, "", "0" * 64, ["x"]),
    "error": (None, 3, ["x"], {}),
    "paired": (GONE, None, "yes", 1),
    "counts_sha256": (GONE, None, "", "0" * 64, 3),
    "plan_digest": (GONE, None, 3, "0" * 64),
    "engine": (None, 3),
    "warnings": (None, "x", {}, [3], [None]),
    "timings": (
        None,
        [],
        "x",
        {"simulate_s": "1"},
        {"simulate_s": None},
        {"prepare_s": -1},
        {"simulate_s": 10**400},
    ),
}


def changes(wrong: dict[str, tuple[Any, ...]]) -> list[Any]:
    return [
        pytest.param(key, value, id=f"{key}={'gone' if value is GONE else repr(value)[:20]!a}")
        for key, values in wrong.items()
        for value in values
    ]


def changed(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {name: one for name, one in {**document, key: value}.items() if one is not GONE}


@pytest.mark.parametrize(("key", "value"), changes(WRONG))
def test_malformed_keys_of_batch_json(whole: Path, tmp_path: Path, key: str, value: Any) -> None:
    document = changed(json.loads((whole / "done" / BATCH).read_text()), key, value)
    check_every_command(whole, tmp_path, lambda folder: write_document(folder / BATCH, document))


@pytest.mark.parametrize(("key", "value"), changes(WRONG_CASE))
def test_malformed_cases_of_batch_json(whole: Path, tmp_path: Path, key: str, value: Any) -> None:
    document = json.loads((whole / "done" / BATCH).read_text())
    document["cases"][1] = changed(document["cases"][1], key, value)
    check_every_command(whole, tmp_path, lambda folder: write_document(folder / BATCH, document))


@pytest.mark.parametrize(("key", "value"), changes(WRONG_MANIFEST))
def test_malformed_keys_of_manifests(whole: Path, tmp_path: Path, key: str, value: Any) -> None:
    document = changed(json.loads((whole / "done" / OTHER).read_text()), key, value)
    check_every_command(whole, tmp_path, lambda folder: write_document(folder / OTHER, document))


# --- files that are none


def no_file(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def a_folder(path: Path) -> None:
    no_file(path)
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def a_pipe(path: Path) -> None:
    no_file(path)
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    no_file(path)
    path.symlink_to(path)


def an_empty_file(path: Path) -> None:
    no_file(path)
    path.write_bytes(b"")


KINDS = (no_file, a_folder, a_pipe, a_link_to_itself, an_empty_file)
NAMES = (
    BATCH,
    "cases",
    "cases/base",
    BASE,
    "cases/base/counts.npz",
    "cases/base/records.npz",
    OTHER,
    "odds.csv",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_something_else_in_a_files_place(whole: Path, tmp_path: Path, name: str, kind: Damage) -> None:
    check_every_command(whole, tmp_path, lambda folder: kind(folder / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("name", NAMES)
def test_what_may_not_be_read(whole: Path, tmp_path: Path, name: str) -> None:
    try:
        check_every_command(whole, tmp_path, lambda folder: (folder / name).chmod(0))
    finally:
        for folder in ("resumed", "replaced"):
            with contextlib.suppress(FileNotFoundError):
                (tmp_path / folder / name).chmod(0o700)


# --- anything


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every value in a document, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Copy of a document with another value at a path, or without it."""
    if not path:
        return None if value is GONE else value
    found = copy.deepcopy(document)
    parent = found
    for key in path[:-1]:
        parent = parent[key]
    if value is GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return found


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from(["..", "base", "0" * 64, 2**64, -1, "finished"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage(whole: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([BATCH, BASE, OTHER]))
    document = json.loads((whole / "done" / name).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(list(places(document))))
        document = with_value(document, where, data.draw(st.just(GONE) | JSON))
    with tempfile.TemporaryDirectory() as parent:
        check_every_command(whole, Path(parent), lambda folder: write_document(folder / name, document))


def test_a_folder_that_is_whole_is_taken_as_it_is(whole: Path, tmp_path: Path) -> None:
    """The checks above would pass if every command refused everything."""
    check_every_command(whole, tmp_path, lambda folder: None)
    for name in ("resumed", "replaced", "merged"):
        assert same_numbers(tmp_path / name, whole / "done")
    simulate_tiny(tmp_path / "resumed", resume=True)
