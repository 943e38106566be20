"""Date lines in many languages, what a user states as --as-of, and every reason to refuse either."""

from __future__ import annotations

import datetime as dt
import sys

import pytest

from sim.chain import quote_time
from sim.chain.quote_time import AS_OF_HINT, checked_quote_time, read_as_of, read_date_line
from sim.errors import InputError
from sim.market.calendar import NEW_YORK

WHERE = "chain.csv, line 3"


def new_york(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_date_line(text, WHERE)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(f"{WHERE}: ")
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Date: September 25, 2025 at 9:05 PM EDT", "2025-09-25 21:05"),
        ("Date: December 12, 2022 at 8:30 PM EST", "2022-12-12 20:30"),
        ("Date: 14 March 2026 at 07:34 GMT-4", "2026-03-14 07:34"),
        ("Date: 12 de enero de 2026, 13:29 GMT-5", "2026-01-12 13:29"),
        ("Date: 3 de setembro de 2025 às 16:18 GMT-4", "2025-09-03 16:18"),
        ("Date: 3 de setembro de 2025 às 17:18 BRT", "2025-09-03 16:18"),
        ("Date: 3 de set. de 2025, 16:18 GMT-4", "2025-09-03 16:18"),
        ("Date: 3. September 2025 um 22:18 MESZ", "2025-09-03 16:18"),
        ("Date: 3. März 2026 um 22:18 MEZ", "2026-03-03 16:18"),
        ("Date: 3 septembre 2025 à 22:18 UTC+2", "2025-09-03 16:18"),
        ("Date: 3 septembre 2025 à 16:18 UTC−4", "2025-09-03 16:18"),
        ("Date: 3 août 2025 à 16 h 18 HAE", "2025-08-03 16:18"),
        ("Date: 3 settembre 2025 alle ore 22:18 CEST", "2025-09-03 16:18"),
        ("Date: 3 września 2025 o 22:18 CEST", "2025-09-03 16:18"),
        ("Date: 3 listopada 2025 o 22:18 CET", "2025-11-03 16:18"),
        ("Date: 3 сентября 2025 г. в 23:18 MSK", "2025-09-03 16:18"),
        ("Date: 3 сентября 2025 г. в 23:18 GMT+3", "2025-09-03 16:18"),
        ("Date: 3 Eylül 2025 23:18 GMT+3", "2025-09-03 16:18"),
        ("Date: 3 Mart 2026 00:18 TRT", "2026-03-02 16:18"),  # Mart is also the zone MART
        ("Date: 3 september 2025 om 22:18 CEST", "2025-09-03 16:18"),
        ("Date: 3 september 2025 kl. 22:18 CEST", "2025-09-03 16:18"),
        ("Date: 3. september 2025 kl. 22.18 GMT+2", "2025-09-03 16:18"),
        ("Date: 3. září 2025 v 22:18 GMT+2", "2025-09-03 16:18"),
        ("Date: 2025. szeptember 3. 22:18 GMT+2", "2025-09-03 16:18"),
        ("Date: 3 syyskuuta 2025 klo 23.18 GMT+3", "2025-09-03 16:18"),
        ("Date: 2025年9月4日 GMT+9 5:18", "2025-09-03 16:18"),
        ("Date: 2025年9月4日 5:18 JST", "2025-09-03 16:18"),
        ("Date: 3 de septiembre de 2025, 4:18 p. m. GMT-4", "2025-09-03 16:18"),
        ("Date: September 4, 2025 at 1:48 AM GMT+5:30", "2025-09-03 16:18"),
        ("Date: September 3, 2025 at 4:18\u202fPM EDT", "2025-09-03 16:18"),
        ("Date: September 3, 2025 at 4:18 PM ET", "2025-09-03 16:18"),
        ("Date: January 3, 2025 at 1:18 PM PT", "2025-01-03 16:18"),
        ("Date: September 3, 2025 at 12:18 AM EDT", "2025-09-03 00:18"),
        ("Date: 9/13/2025, 4:18:07 PM EDT", "2025-09-13 16:18:07"),
        ("Date: 2025-09-03 20:18 UTC", "2025-09-03 16:18"),
        ("September 3, 2025 at 4:18 PM EDT", "2025-09-03 16:18"),
    ],
)
def test_date_lines(line: str, expected: str) -> None:
    read = read_date_line(line, WHERE)
    assert read == new_york(expected)
    assert read.tzinfo is NEW_YORK


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Date: 3 de setembro de 2025 às 16:18", "states no time zone that is known"),
        ("Date: September 3, 2025 at 4:18 PM", "states no time zone that is known"),
        ("Date: September 3, 2025 at 4:18 PM XYZ", "states no time zone that is known"),
        ("Date: 3 de setembro de 2025 às 16:18 Horário de Brasília", "states no time zone that is known"),
        ("Date: 3 MART 2026 16:18", "states no time zone that is known"),
        ("Date: September 3, 2025 at 4:18 PM IST", "IST stands for several time zones"),
        ("Date: September 3, 2025 at 4:18 PM GMT-4 GMT-5", "states more than one time zone"),
        ("Date: September 3, 2025 at 4:18 PM GMT-15", "GMT-15 is no time zone"),
        ("Date: September 3, 2025 at 4:18 PM GMT+5:75", "GMT+5:75 is no time zone"),
        ("Date: September 3, 2025 EDT", "states no time of day"),
        ("Date: 03/09/2025 16:18 GMT-4", "its day and month can be taken for each other"),
        ("Date: 3.9.2025 16:18 GMT-4", "its day and month can be taken for each other"),
        ("Date: September 3, 1825 at 4:18 PM EDT", "the year is not from 1990 to 2100"),
        ("Date: January 1, 2101 at 1:18 AM EST", "the year is not from 1990 to 2100"),
        ("Date: September 3, 25 at 4:18 PM EDT", "states no date that can be read"),
        ("Date: September 31, 2025 at 4:18 PM EDT", "states no date that can be read"),
        ("Date: September 3, 2025 at 25:18 EDT", "states no date that can be read"),
        ("Date: September 3, 2025 at 4:18 PM 7 EDT", "states no date that can be read"),
        ("Date: September 2025 at 4:18 PM EDT", "states no date that can be read"),
        ("Date: yesterday EDT", "states no date that can be read"),
        ("Date:", "states no date"),
        ("Date: " + "9" * 200, "is too long for a date"),
        ("Date: \x00\x1b[31m 2025 EDT", "states no"),
    ],
)
def test_date_lines_that_are_refused(line: str, why: str) -> None:
    message = refusal(line)
    assert f"({why}" in message or f": {why}" in message
    assert message.endswith(AS_OF_HINT)


def test_date_line_without_dateparser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dateparser.date", None)
    quote_time._parser.cache_clear()
    try:
        message = refusal("Date: September 3, 2025 at 4:18 PM EDT")
    finally:
        quote_time._parser.cache_clear()
    assert message == (
        "chain.csv, line 3: the date line cannot be read without the dateparser package. "
        'Try pip install "gammawall-sim[book]", or stating the time of the quotes.'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-09-03 16:18", "2025-09-03 16:18"),
        (" 2025-09-03  9:05:30 ", "2025-09-03 09:05:30"),
        ("2025-09-03T16:18", "2025-09-03 16:18"),
        ("2025-09-03T20:18Z", "2025-09-03 16:18"),
        ("2025-09-03 20:18 +00:00", "2025-09-03 16:18"),
        ("2025-09-03T22:18:00+0200", "2025-09-03 16:18"),
        ("2025-09-03", "2025-09-03 16:00"),
        ("2025-11-28", "2025-11-28 13:00"),  # closes early
        ("2025-11-02 01:30-05:00", "2025-11-02 01:30"),
    ],
)
def test_as_of(text: str, expected: str) -> None:
    read = read_as_of(text)
    assert read.replace(fold=0) == new_york(expected)
    assert read.tzinfo is NEW_YORK


def test_as_of_in_the_hour_shown_twice() -> None:
    daylight, standard = read_as_of("2025-11-02 01:30-04:00"), read_as_of("2025-11-02 01:30-05:00")
    assert standard.astimezone(dt.UTC) - daylight.astimezone(dt.UTC) == dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", '--as-of: is no date and time. Try --as-of "2025-09-03 16:18".'),
        ("now", '--as-of: "now" (is no date and time). Try --as-of "2025-09-03 16:18".'),
        ("20250903", '--as-of: "20250903" (is no date and time). Try --as-of "2025-09-03 16:18".'),
        (
            "2025-09-03 24:00",
            '--as-of: "2025-09-03 24:00" (there is no such date and time). Try --as-of "2025-09-03 16:18".',
        ),
        (
            "2025-02-30",
            '--as-of: "2025-02-30" (there is no such date and time). Try --as-of "2025-09-03 16:18".',
        ),
        (
            "2025-09-03 16:18+15:00",
            '--as-of: "2025-09-03 16:18+15:00" (there is no such offset from UTC). '
            'Try --as-of "2025-09-03 16:18".',
        ),
        (
            "1989-09-05",
            '--as-of: "1989-09-05" (the year is not from 1990 to 2100). Try --as-of "2025-09-03 16:18".',
        ),
        (
            "2025-09-06",
            "--as-of: 2025-09-06 (is no trading day of the New York Stock Exchange). "
            "Try 2025-09-05 or 2025-09-08, or state the time as well.",
        ),
        (
            "2025-03-09 02:30",
            '--as-of: "2025-03-09 02:30" (New York\'s clocks skip this time). Try --as-of "2025-09-03 16:18".',
        ),
        (
            "2025-11-02 01:30",
            '--as-of: "2025-11-02 01:30" (New York\'s clocks show this time twice). '
            'Try "2025-11-02 01:30-0400" or "2025-11-02 01:30-0500".',
        ),
    ],
)
def test_as_of_that_is_refused(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        read_as_of(text)
    assert str(caught.value) == line


def test_quote_times_are_aware_and_of_our_time() -> None:
    utc = dt.datetime(2025, 9, 3, 20, 18, tzinfo=dt.UTC)
    assert checked_quote_time(utc, "x") == utc
    assert checked_quote_time(utc, "x").tzinfo is NEW_YORK
    for instant, why in (
        (utc.replace(tzinfo=None), "states no time zone"),
        (utc.replace(year=1), "the year is not"),
        (dt.datetime.max.replace(tzinfo=dt.UTC), "the year is not"),
        (dt.datetime(1990, 1, 1, 1, tzinfo=dt.UTC), "the year is not"),  # still 1989 in New York
    ):
        with pytest.raises(InputError, match=why):
            checked_quote_time(instant, "x")
