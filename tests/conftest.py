from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-gold",
        action="store_true",
        help="write the gold results in tests/gold anew instead of comparing with them",
    )


@pytest.fixture
def update_gold(request: pytest.FixtureRequest) -> bool:
    """Whether gold results are written rather than compared; say in the change why they moved."""
    return bool(request.config.getoption("--update-gold"))
