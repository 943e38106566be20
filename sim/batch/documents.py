"""Documents of a batch's folder, batch.json and the manifests of its cases, read and checked to be whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sim.batch.family import Batch, Case
from sim.batch.rules import batch_problems
from sim.files.json_text import has_form, is_sealed, read_json
from sim.run.results import RUN_FORM

BATCH_FORM: Final = "gammawall-batch/1"
BATCH: Final = "batch.json"

# Manifests of cases are larger than this only by accident.
MOST_MANIFEST_BYTES: Final = 1 << 26
# No case takes longer than some thousand years; the sum of all cases is a number, too.
_Seconds = Annotated[float, Field(ge=0, le=1e11)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Document(BaseModel):
    """Base of the documents: strict types, finite numbers, further keys left alone."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Axis(_Document):
    axis: str
    labels: list[str]


class _CaseEntry(_Document):
    name: str
    folder: str
    scenario_hash: str
    status: Literal["finished", "failed", "not run"]
    point: dict[str, str]
    parameters: dict[str, str]


class _BatchDocument(_Document):
    """Keys of batch.json that are read again."""

    name: str
    description: str
    base: str
    baseline: str
    axes: list[_Axis]
    parameters: list[str]
    paths: int
    seed: int
    target_se: float | None
    max_paths: int | None
    digest: str
    code: str
    cases: list[_CaseEntry]


class _Timings(_Document):
    prepare_s: _Seconds = 0.0
    simulate_s: _Seconds = 0.0


class _CaseManifest(_Document):
    """Keys of a case's manifest that are read again.

    A failed case has an error. A finished one has what tells that its counts belong to it.
    """

    batch: str
    case: str
    case_key: _Hash
    error: str = ""
    paired: bool | None = None
    counts_sha256: _Hash | None = None
    plan_digest: str | None = None
    paths: Annotated[int, Field(ge=0)] = 0
    engine: str = ""
    warnings: list[str] = []
    timings: _Timings = _Timings()

    @model_validator(mode="after")
    def _belongs_to_counts(self) -> _CaseManifest:
        if "error" not in self.model_fields_set and None in (
            self.paired,
            self.counts_sha256,
            self.plan_digest,
        ):
            raise ValueError("neither finished nor failed")
        return self


def batch_document(path: Path) -> dict[str, Any] | None:
    """Content of a folder's batch.json; None if it is missing or damaged."""
    document = read_json(path / BATCH) or {}
    if not has_form(document, BATCH_FORM) or not is_sealed(document):
        return None
    try:
        _BatchDocument.model_validate(document)
    except ValidationError:
        return None
    batch = batch_from_document(document)
    known = set(document["parameters"])
    whole = all(case.keys() <= known for case in (entry["parameters"] for entry in document["cases"]))
    return (
        document if whole and not any(batch_problems(batch)) and batch.digest == document["digest"] else None
    )


def batch_from_document(document: dict[str, Any]) -> Batch:
    """Batch of a whole batch.json; its cases have no scenarios."""
    cases = tuple(
        Case(
            case["name"],
            case["folder"],
            case["scenario_hash"],
            None,
            case["point"],
            {name: case["parameters"][name] for name in document["parameters"] if name in case["parameters"]},
        )
        for case in document["cases"]
    )
    return Batch(
        document["name"],
        document["description"],
        document["base"],
        document["baseline"],
        cases,
        {axis["axis"]: tuple(axis["labels"]) for axis in document["axes"]},
        document["paths"],
        document["seed"],
        document["target_se"],
        document["max_paths"],
    )


def case_manifest(file: Path) -> dict[str, Any] | None:
    """Content of a case's manifest; None if it is missing or damaged."""
    document = read_json(file, MOST_MANIFEST_BYTES) or {}
    if not has_form(document, RUN_FORM):
        return None
    try:
        _CaseManifest.model_validate(document)
    except ValidationError:
        return None
    return document
