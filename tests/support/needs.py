"""What some tests need that a machine may lack."""

from __future__ import annotations

import pytest

from sim.compiled.native_library import library_file

# A library that is here and does not work is a failure, not a reason to skip.
needs_native = pytest.mark.skipif(
    library_file("baseline") is None, reason="the native engine was not compiled here"
)
