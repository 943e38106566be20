"""Quote time of an option chain: the instant its quotes were taken, in New York time.

Cboe's quotedata file states it in the language and the time zone of whoever saved it. The dateparser package
reads the words; it drops a time zone it does not know and guesses the order of day and month, so a reading
counts only once it is proved: the zone was stated and is known, the order cannot be mistaken, and every
number in the text is one that the reading explains.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from sim.errors import InputError, Problem
from sim.market.calendar import FIRST_DATE, LAST_DATE, NEW_YORK, trading_calendar
from sim.problems import shown

# Names without a season, which dateparser takes for winter time.
_SEASONLESS: Final = {
    "ET": NEW_YORK,
    "CT": ZoneInfo("America/Chicago"),
    "MT": ZoneInfo("America/Denver"),
    "PT": ZoneInfo("America/Los_Angeles"),
}
_OPTION: Final = "--as-of"
_OPTION_HINT: Final = f'Try {_OPTION} "2025-09-03 16:18".'
AS_OF_HINT: Final = (
    'Try as_of=datetime.datetime(2025, 9, 3, 16, 18, tzinfo=zoneinfo.ZoneInfo("America/New_York")).'
)
_LONGEST_DATE: Final = 100
# Browsers write a minus sign, blanks that do not break and marks of reading direction.
_PLAIN: Final = str.maketrans({**dict.fromkeys("−–‐‑‒—﹣－", "-"), **dict.fromkeys("\u200e\u200f\u061c")})
# Spanish "p. m." and French "16 h 18", which dateparser does not take for times.
_NOON_HALF: Final = re.compile(r"\b([ap])\. ?m\.", re.IGNORECASE)
_FRENCH_HOURS: Final = re.compile(r"(?<=\d) ?h ?(?=\d\d\b)")
_GMT_OFFSET: Final = re.compile(
    r"(?<!\w)(?:GMT|UTC)(?:\s*(?P<sign>[+-])\s*(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?)?(?!\w)"
)
_LAST_WORD: Final = re.compile(r"(?<![^\s(])(?P<word>[^\W\d_]{1,5})\)?$")
# Names at work in several places at different times; dateparser picks one of them without a word.
_ZONES_OF_SEVERAL: Final = frozenset({"AMST", "AMT", "ECT", "GST", "IST", "LMT", "SST", "WST"})
_LARGEST_OFFSET: Final = dt.timedelta(hours=14)
_AS_OF: Final = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[ T](?P<time>\d{1,2}:\d{2}(?::\d{2})?)(?: ?(?P<zone>[Zz]|[+-]\d{2}:?\d{2}))?)?",
    re.ASCII,
)


def read_date_line(text: str, where: str) -> dt.datetime:
    """Instant that the date line of a quotedata file states, in New York time.

    text : the line or its date alone, such as "Date: 12 de enero de 2026, 13:29 GMT-5"; any language that
        dateparser knows, the zone as an offset from GMT or UTC or as an abbreviation in capitals.
    where : file and line, for messages.

    Errors: `InputError` where the text is no date with a time of day and a time zone, where its day and month
    can be taken for each other, where its year is not from 1990 to 2100, or where dateparser is missing.
    """
    stated = " ".join(text.translate(_PLAIN).split())
    stated = re.sub(r"^date\s*:\s*", "", stated, flags=re.IGNORECASE)
    if not stated:
        raise _refused(where, "", "states no date")
    if len(stated) > _LONGEST_DATE:
        raise _refused(where, stated, "is too long for a date")
    local, zone = _without_zone(_FRENCH_HOURS.sub(":", _NOON_HALF.sub(r"\1m", stated)), where)
    read = _proved_reading(local, stated, where)
    if isinstance(zone, dt.timedelta):
        zone = dt.timezone(zone)
    return _in_new_york(read.replace(tzinfo=zone), stated, where)


def read_as_of(text: str) -> dt.datetime:
    """Instant that a user states as --as-of, in New York time.

    text : "2025-09-03 16:18" in New York time, the same with an offset ("-04:00") or "Z" for UTC, or a session
        alone, "2025-09-03", for its close.

    Errors: `InputError` where the text is none of these, the date is no session and has no time, or New York's
    clocks skip the time or show it twice.
    """
    where = _OPTION
    found = _AS_OF.fullmatch(" ".join(text.split()))
    if found is None:
        raise _refused(where, text, "is no date and time")
    try:
        day = dt.date.fromisoformat(found["date"])
        hour, minute, second = (*map(int, (found["time"] or "0:0").split(":")), 0)[:3]
        clock = dt.time(hour, minute, second)
    except ValueError as error:
        raise _refused(where, text, "there is no such date and time") from error
    if not FIRST_DATE <= day <= LAST_DATE:
        raise _refused(where, text, f"the year is not from {FIRST_DATE.year} to {LAST_DATE.year}")
    if found["time"] is None:
        return _session_close(day, where)
    if found["zone"] is None:
        return _new_york_clock(dt.datetime.combine(day, clock), text, where)
    offset = _offset(found["zone"].upper())
    if offset is None:
        raise _refused(where, text, "there is no such offset from UTC")
    return _in_new_york(dt.datetime.combine(day, clock, dt.timezone(offset)), text, where)


def checked_quote_time(instant: dt.datetime, where: str) -> dt.datetime:
    """Aware instant in New York time, its year checked to be from 1990 to 2100.

    Errors: `InputError`.
    """
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise _refused(where, instant.isoformat(sep=" "), "states no time zone")
    return _in_new_york(instant, instant.isoformat(sep=" "), where)


def _in_new_york(instant: dt.datetime, text: str, where: str) -> dt.datetime:
    # the year is judged first: near the years 1 and 9999 the change of zone overflows
    if FIRST_DATE.year <= instant.year <= LAST_DATE.year:
        read = instant.astimezone(NEW_YORK)
        if FIRST_DATE <= read.date() <= LAST_DATE:
            return read
    raise _refused(where, text, f"the year is not from {FIRST_DATE.year} to {LAST_DATE.year}")


def _session_close(day: dt.date, where: str) -> dt.datetime:
    calendar = trading_calendar()
    if not calendar.is_session(day):
        near = " or ".join(str(session) for session in calendar.nearest(day))
        why = "is no trading day of the New York Stock Exchange"
        raise InputError([Problem(where, "", str(day), why, f"Try {near}, or state the time as well.")])
    minute = int(calendar.close_minute[calendar.position(day)])
    return dt.datetime.fromtimestamp(60 * minute, dt.UTC).astimezone(NEW_YORK)


def _new_york_clock(local: dt.datetime, text: str, where: str) -> dt.datetime:
    first, second = (local.replace(tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(dt.UTC).astimezone(NEW_YORK).replace(tzinfo=None) != local:
        raise _refused(where, text, "New York's clocks skip this time")
    both = (f'"{local:%Y-%m-%d %H:%M}{instant:%z}"' for instant in (first, second))
    raise _refused(where, text, "New York's clocks show this time twice", f"Try {' or '.join(both)}.")


def _without_zone(stated: str, where: str) -> tuple[str, dt.timedelta | dt.tzinfo]:
    """Text without its time zone, and that zone or its offset from UTC."""
    offsets = list(_GMT_OFFSET.finditer(stated))
    if len(offsets) > 1:
        raise _refused(where, stated, "states more than one time zone")
    if offsets:
        found = offsets[0]
        sign, hours, minutes = found.groups()
        offset = _offset(f"{sign}{hours:0>2}{minutes or '00'}" if sign else "Z")
        if offset is None:
            raise _refused(where, stated, f"{found[0]} is no time zone")
        return f"{stated[: found.start()]} {stated[found.end() :]}", offset
    last = _LAST_WORD.search(stated)
    word = last["word"] if last else ""
    local = stated[: last.start()] if last else stated
    if word in _SEASONLESS:
        return local, _SEASONLESS[word]
    if word in _ZONES_OF_SEVERAL:
        raise _refused(where, stated, f"{word} stands for several time zones")
    offset = _named_offset(word, where) if word.isupper() else None
    if offset is None:
        raise _refused(where, stated, "states no time zone that is known")
    return local, offset


def _offset(text: str) -> dt.timedelta | None:
    """Offset from UTC of "Z", "-0400" or "-04:00"; None if there is none such."""
    if text == "Z":
        return dt.timedelta(0)
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = dt.timedelta(hours=hours, minutes=minutes)
    if minutes >= 60 or offset > _LARGEST_OFFSET:
        return None
    return -offset if text[0] == "-" else offset


def _named_offset(word: str, where: str) -> dt.timedelta | None:
    """Offset from UTC of a time zone's abbreviation, None where dateparser does not know it."""
    probe = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    text = f"{probe:%Y-%m-%d %H:%M} {word}"
    first, second = (_reading(text, zone, "YMD", where)[0] for zone in ("UTC", "Asia/Tokyo"))
    # a word that is dropped leaves each reading in the zone it was told to assume
    if first is None or second is None or first != second:
        return None
    return probe - first


def _proved_reading(local: str, stated: str, where: str) -> dt.datetime:
    """Date and wall-clock time that a text without a zone states."""
    numbers = [int(digits) for digits in re.findall(r"\d{1,9}", local)]
    if not any(n > 99 for n in numbers):
        raise _refused(where, stated, "states no date that can be read")
    # nowhere does the day come before the month where the year comes first
    orders = ("YMD",) if numbers[0] > 99 else ("DMY", "MDY")
    # An explicit zone at the end keeps dateparser from taking a month ("Mart", "set") for a zone.
    text = f"{local.strip(' ,()[]')} UTC+00:00"
    readings = [_reading(text, "UTC", order, where) for order in orders]
    found = {read: period for read, period in readings if read is not None}
    if not found:
        raise _refused(where, stated, "states no date that can be read")
    if len(found) > 1:
        raise _refused(where, stated, "its day and month can be taken for each other")
    ((read, period),) = found.items()
    if period != "time":
        raise _refused(where, stated, "states no time of day")
    stands = {read.year, read.day, read.minute}
    explained = stands | {read.month, read.second, read.hour, read.hour % 12, read.hour % 12 or 12}
    if read.utcoffset() != dt.timedelta(0) or not stands <= set(numbers) or not set(numbers) <= explained:
        raise _refused(where, stated, "states no date that can be read")
    return read


def _reading(text: str, zone: str, order: str, where: str) -> tuple[dt.datetime | None, str]:
    """Dateparser's reading, None if it has none, and the finest unit it found, "time" for a time of day."""
    parser = _parser(zone, order)
    if parser is None:
        why = "cannot be read without the dateparser package"
        hint = 'Try pip install "gammawall-sim[book]", or stating the time of the quotes.'
        raise _refused(where, "", f"the date line {why}", hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = parser.get_date_data(text)
    except Exception:
        # text that is no date makes dateparser fail in many ways
        return None, ""
    return found.date_obj, found.period or ""


@cache
def _parser(zone: str, order: str) -> Any:
    """Dateparser with a default zone and an order of day and month; None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from dateparser.date import DateDataParser
    except ImportError:
        return None
    return DateDataParser(
        settings={
            "RETURN_AS_TIMEZONE_AWARE": True,
            "TIMEZONE": zone,
            "DATE_ORDER": order,
            "REQUIRE_PARTS": ["day", "month", "year"],
            "PARSERS": ["absolute-time"],
            "RETURN_TIME_AS_PERIOD": True,
        }
    )


def _refused(where: str, value: str, why: str, hint: str = "") -> InputError:
    usual = _OPTION_HINT if where == _OPTION else AS_OF_HINT
    return InputError([Problem(where, "", shown(value) if value else "", why, hint or usual)])
