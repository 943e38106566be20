from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-gold", action="store_true", help="write the files of tests/gold anew")


@pytest.fixture
def update_gold(request: pytest.FixtureRequest) -> bool:
    """Whether gold files are to be written anew instead of compared with."""
    return bool(request.config.getoption("--update-gold"))
