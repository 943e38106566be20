"""What every test relies on, however the tests were started."""

from __future__ import annotations

import signal

# A shell has Ctrl-C ignored in what it starts in the background, and so have the programs that it starts in turn:
# tests of Ctrl-C would fail there, or wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
