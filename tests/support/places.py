"""Where things lie: the project, its own reference answers, and real market data outside it."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
# The project's own answers, made by an independent implementation.
REFERENCE = TESTS / "reference"
CASES = REFERENCE / "cases"
KNOWN_ANSWERS_FILE = REFERENCE / "philox_kat.txt"
# A chain of made-up quotes. Its index stands between cents, so that no pair of a call and a put is exactly in line,
# and not where the file says, so that every expiry has a carry.
SYNTHETIC_CHAIN = REFERENCE / "synthetic_chain.csv"
# Market files that are not the project's to give away: tests that want them skip where they are not.
MARKET_DATA = ROOT.parent / "shared" / "data"
