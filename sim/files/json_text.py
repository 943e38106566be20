"""JSON of manifests and tables, written and read: dates in ISO form, no NaN, no infinity."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sim.files.own_files import read_regular

if TYPE_CHECKING:
    import pandas as pd

# No manifest is larger, that of the largest batch included.
MOST_BYTES: Final = 1 << 29
# Key of a document's seal.
SEAL = "seal"


def manifest_json(manifest: Mapping[str, Any], form: str) -> str:
    """Text of a manifest in strict JSON with sorted keys; dates in ISO form.

    Parameters
    ----------
    manifest : the document.
    form : its value of "format", a name and a version such as "gammawall-results/1".

    Errors: ValueError for NaN or infinity, TypeError for a value that JSON does not have.
    """
    document = {**manifest, "format": form}
    return (
        json.dumps(document, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
        + "\n"
    )


def sealed_json(manifest: Mapping[str, Any], form: str) -> str:
    """Text of a manifest with its seal, by which a change of any of its values is noticed; see `manifest_json`."""
    plain = json.loads(manifest_json(manifest, form))
    return manifest_json({**plain, SEAL: _seal(plain)}, form)


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a document that was read holds what was sealed; white space and the order of keys are free."""
    return document.get(SEAL) == _seal(document)


def _seal(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document of plain JSON values, its seal left out."""
    content = {key: value for key, value in document.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_json(file: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any] | None:
    """JSON object read from a regular file; None if it is missing, too large, or holds no such object."""
    try:
        document = json.loads(read_regular(file, most_bytes).decode("utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN, Infinity and -Infinity, which JSON does not have."""
    raise ValueError(name)


def has_form(document: Mapping[str, Any], form: str) -> bool:
    """Whether the "format" of a document has the name of a form, in any version."""
    return str(document.get("format", "")).partition("/")[0] == form.partition("/")[0]


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON values: dates in ISO form, NaN as null."""
    return [
        {str(name): _json_value(value) for name, value in row.items()} for row in table.to_dict("records")
    ]


def plain_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Document of plain JSON values: dates in ISO form, NaN as null, at any depth."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return _json_value(value)

    return {str(key): plain(item) for key, item in document.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()[:10]
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a manifest")
