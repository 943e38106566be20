"""What every test relies on, however the tests were started, and the option that writes gold results."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# How long an example takes depends on the machine and on what else runs there.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell has Ctrl-C ignored in what it starts in the background, nohup has hang-ups ignored, and so have the programs
# that are started in turn: tests of signals would fail there, or wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
