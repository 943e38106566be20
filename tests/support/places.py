"""Where things lie: the project, its own reference answers, and real market data outside it."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
# The project's own answers, made by an independent implementation.
REFERENCE = TESTS / "reference"
CASES = REFERENCE / "cases"
KNOWN_ANSWERS_FILE = REFERENCE / "philox_kat.txt"
# Market files that are not the project's to give away: tests that want them skip where they are not.
MARKET_DATA = ROOT.parent / "shared" / "data"
