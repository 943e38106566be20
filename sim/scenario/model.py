"""Scenario: everything a simulation depends on, validated and frozen.

Each class is one table of the scenario file; each attribute is the key of the same name (`schema_version` is
the file's `schema`, `from_` its `from`). Types are strict: a number is never read from a string or a boolean,
and no number may be NaN or infinite.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import FieldSerializationInfo

from sim.book.limits import (
    LARGEST_CARRY,
    LARGEST_CONTRACTS,
    LARGEST_IV,
    LARGEST_PRICE,
    LONGEST_NAME,
    NAME_PATTERN,
    SMALLEST_IV,
    SMALLEST_PRICE,
)
from sim.book.rows import BookRows
from sim.errors import InputError
from sim.market.calendar import FIRST_DATE, LAST_DATE
from sim.problems import check_type, short_repr
from sim.scenario.dates import MAX_SESSIONS
from sim.scenario.frozen import FrozenDict
from sim.scenario.key_problems import key_problems, table_keys
from sim.scenario.levels import all_levels
from sim.scenario.overrides import Overrides
from sim.scenario.rules import MAX_LEVELS, cross_field_problems, is_constant
from sim.scenario.triggers import TRIGGERS, TriggerName
from sim.scenario.validation import changed_tables, scenario_data

MAX_POSITIONS: Final = 2000
MAX_REGIMES: Final = 31
# Annual: below it prices stand still to any digit shown, and reciprocals of variances overflow.
SMALLEST_VOLATILITY: Final = 1e-8
# Degrees of freedom of a shock: above the smallest its variance is finite, at the largest it is all but normal.
SMALLEST_TAIL_DOF: Final = 2.05
LARGEST_TAIL_DOF: Final = 1000.0

_Item = TypeVar("_Item")


def _list_as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _file_name_safe(name: str) -> str:
    """Name of a scenario, checked to serve as the name of a folder and as a cell of a CSV file.

    Errors: ValueError with the reason.
    """
    if not name.strip():
        raise ValueError("is empty")
    if name != name.strip():
        raise ValueError("begins or ends with white space")
    if "/" in name or "\\" in name:
        raise ValueError("has a path separator: results are filed under this name")
    if name in (".", ".."):
        raise ValueError("is no name of a folder: results are filed under this name")
    return _on_one_line(name)


def _on_one_line(name: str) -> str:
    """Name without control characters.

    Errors: ValueError with the reason.
    """
    if not name.isprintable():
        raise ValueError("has a control character")
    return name


def _flawless(book: BookRows) -> BookRows:
    """Rows of a book, checked to be positions.

    Errors: PydanticCustomError with the reason.
    """
    if book.flaw:
        raise PydanticCustomError("book_rows", "{flaw}", {"flaw": book.flaw})
    return book


Items = Annotated[tuple[_Item, ...], BeforeValidator(_list_as_tuple)]
Date = Annotated[dt.date, Field(ge=FIRST_DATE, le=LAST_DATE)]
Price = Annotated[float, Field(ge=SMALLEST_PRICE, le=LARGEST_PRICE)]
LogReturn = Annotated[float, Field(ge=-2, le=2)]
LogSpread = Annotated[float, Field(ge=0, le=2)]
Volatile = Annotated[float, Field(ge=SMALLEST_VOLATILITY, le=5)]
Identifier = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$", max_length=LONGEST_NAME)]
Title = Annotated[str, Field(max_length=100), AfterValidator(_file_name_safe)]
Density = Annotated[float, Field(ge=0, le=1e6)]
DayPart = Annotated[float, Field(gt=0, le=10)]
GroupWeight = Annotated[float, Field(ge=-1e3, le=1e3)]
GroupWeights = Annotated[dict[str, GroupWeight], AfterValidator(FrozenDict)]


class ScenarioTable(BaseModel):
    """Base of the tables of a scenario file: strict types, no unknown keys, frozen, finite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def __repr__(self) -> str:
        """Return the table with the keys that were given, on one line."""
        given = ((name, value) for name, value in self if name in self.model_fields_set)
        return short_repr(self, ", ".join(f"{name}={value!r}" for name, value in given))

    def __str__(self) -> str:
        return repr(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy with other values for some attributes, validated like those of a file.

        Errors: `sim.errors.InputError` with every problem, keys of a scenario that contradict each other or the
        exchange calendar among them.
        """
        if update is None:
            return super().model_copy(deep=deep)
        check_type("update", update, Mapping, "a mapping of attributes to values", 'Try {"name": "other"}.')
        keys = {name: field.alias or name for name, field in type(self).model_fields.items()}
        names = {key: name for name, key in keys.items()}
        update = {names.get(name, str(name)): value for name, value in update.items()}
        stated = {keys[name]: getattr(self, name) for name in self.model_fields_set}
        stated |= {keys.get(name, name): table_keys(value) for name, value in update.items()}
        try:
            valid = type(self).model_validate(stated)
        except ValidationError as failure:
            problems = key_problems(failure.errors(include_url=False), type(self))
            raise InputError([replace(found, where="update") for found in problems]) from failure
        return super().model_copy(update={name: getattr(valid, name) for name in update}, deep=deep)


class Market(ScenarioTable):
    """Start and horizon of the paths.

    as_of : session at whose close every path starts.
    spot : index level at that close.
    until : last session of the horizon; or
    sessions : number of sessions after `as_of`. Exactly one of both is given.
    """

    as_of: Date
    spot: Price
    until: Date | None = None
    sessions: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] | None = None


class UShape(ScenarioTable):
    """Variance density over the trading day, up to a factor, u ∈ [0, 1] from open to close:

        base + open·e^(−u/open_fade) + close·e^(−(1−u)/close_fade).

    Its default was fit to SPY minute bars, September 2025 to March 2026.

    base : density all day long.
    open, open_fade : what the open adds, and the part of the day over which it falls to 1/e.
    close, close_fade : what the close adds, likewise backwards.
    """

    base: Density = 0.62
    open: Density = 2.353
    open_fade: DayPart = 0.150
    close: Density = 1.666
    close_fade: DayPart = 0.017


class Volatility(ScenarioTable):
    """Variance of the fundamental: level, GJR-GARCH recursion, tails, and its share-out over a session.

    annual : volatility per √252 sessions.
    quoted : "observed" is damped or amplified by dealers already, "fundamental" is not.
    long_run_annual : level the variance reverts to, per √252 sessions; None: `annual`.
    alpha, gamma, beta : h ← ω + (α + γ·1[n<0])·n² + β·h.
    tail_dof : degrees of freedom ν of a session's Student-t shock; None: normal.
    overnight_share : share of a session's variance in its gap.
    steps_per_session : trading steps from open to close.
    intraday_shape : "flat", or "u" for more variance after the open and before the close.
    u_shape : the U; None: the default of `UShape`.
    """

    annual: Volatile
    quoted: Literal["observed", "fundamental"] = "observed"
    long_run_annual: Volatile | None = None
    alpha: Annotated[float, Field(ge=0)] = 0.0
    gamma: float = 0.0
    beta: Annotated[float, Field(ge=0)] = 1.0
    tail_dof: Annotated[float, Field(gt=SMALLEST_TAIL_DOF, le=LARGEST_TAIL_DOF)] | None = None
    overnight_share: Annotated[float, Field(ge=0, lt=1)] = 0.46
    steps_per_session: Annotated[int, Field(ge=1, le=390)] = 13
    intraday_shape: Literal["flat", "u"] = "u"
    u_shape: UShape | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the variance stays constant, h_t = h_0."""
        return is_constant(self)

    @model_serializer(mode="wrap")
    def _without_absent_shape(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the key `u_shape` where it has no value, so that hashes made before it stay the same."""
        data: dict[str, Any] = handler(self)
        if self.u_shape is None:
            data.pop("u_shape", None)
        return data


class Drift(ScenarioTable):
    """Drift of the fundamental: `annual` is its log mean per 252 sessions before the −h/2 of its variance."""

    annual: Annotated[float, Field(ge=-5, le=5)] = 0.0


class Jumps(ScenarioTable):
    """Rare overnight jumps of any session: `per_year` of them, log size normal with `mean` and `sd`."""

    per_year: Annotated[float, Field(ge=0, le=252)] = 0.0
    mean: LogReturn = 0.0
    sd: LogSpread = 0.0


class CatalystOutcome(ScenarioTable):
    """One outcome of a catalyst: with `probability` the gap gains a normal log move of `mean` and `sd`."""

    probability: Annotated[float, Field(ge=0, le=1)]
    mean: LogReturn
    sd: LogSpread


class Catalyst(ScenarioTable):
    """Scheduled news before the open of `session`; the outcomes' probabilities sum to 1."""

    session: Date
    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_on_one_line)]
    outcomes: Annotated[Items[CatalystOutcome], Field(min_length=1, max_length=32)]


class Position(ScenarioTable):
    """One position of the dealers' book, signed from the dealers' side (positive: dealers are long the option).

    group : name by which regimes weigh it.
    type : "call" or "put".
    strike : index level.
    expiry : session on which it leaves the book,
    settlement : at 09:30 New York ("AM") or at the close ("PM").
    iv : annual Black-Scholes volatility, sticky at the strike.
    gex_bn : $bn of hedge trading per 1% move if the index stood at the strike at `as_of`; or
    contracts : number of contracts of 100 index units. Exactly one of both is given.
    carry : annual carry of the forward.
    """

    group: Identifier
    type: Literal["call", "put"]
    strike: Price
    expiry: Date
    settlement: Literal["AM", "PM"]
    iv: Annotated[float, Field(ge=SMALLEST_IV, le=LARGEST_IV)]
    gex_bn: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    contracts: Annotated[float, Field(ge=-LARGEST_CONTRACTS, le=LARGEST_CONTRACTS)] | None = None
    carry: Annotated[float, Field(ge=-LARGEST_CARRY, le=LARGEST_CARRY)] = 0.0


class Dealers(ScenarioTable):
    """Dealers' book and the price impact of hedging it.

    impact_bp_per_bn : basis points the price moves per $1bn traded.
    impact_half_life : sessions until half of an impact has faded; 0: it is permanent.
    m_floor : floor of the feedback factor where it would fall to zero or below, at least 0.05; 0: no floor, for a
        book whose feedback factor stays above 0.05.
    book : the rows of a book file, which the scenario's own names; further positions.
    book_weights : multiplier of each group of these rows (1 where not given).
    position : the book.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    impact_bp_per_bn: Annotated[float, Field(ge=0, le=1e4)] = 0.0
    impact_half_life: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    m_floor: Annotated[float, Field(ge=0, le=1)] = 0.2
    book: Annotated[BookRows, AfterValidator(_flawless)] | None = None
    book_weights: GroupWeights = Field(default_factory=FrozenDict)
    position: Annotated[Items[Position], Field(max_length=MAX_POSITIONS)] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups, those of single positions first."""
        rows = self.book.groups if self.book is not None else ()
        return tuple(dict.fromkeys((*(p.group for p in self.position), *rows)))

    @field_serializer("book")
    def _book_as_record(self, book: BookRows | None, info: FieldSerializationInfo) -> Any:
        """Record of a book in JSON, as in a manifest: its file's name without folders, a digest of its positions."""
        if book is None or info.mode == "python":
            return book
        return {"file": PurePath(book.file).name, "sha256": book.digest, "positions": len(book)}

    @model_serializer(mode="wrap")
    def _without_absent_book(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the keys of a book file where there is none, so that hashes made before them stay the same."""
        data: dict[str, Any] = handler(self)
        if self.book is None:
            data.pop("book", None)
            data.pop("book_weights", None)
        return data


class Regime(ScenarioTable):
    """State of the market, entered at a close and at most once per path.

    when, level, closes : trigger, a name of `sim.scenario.triggers.TRIGGERS`; the index level that it is about;
        closes in a row beyond the level, if it counts them.
    from_ : regimes it may be entered from; None: any other.
    weights : multiplier of each position group (1 where not given).
    flow_bn_per_session : $bn bought (negative: sold) per session besides hedging.
    lasts, then : after so many sessions the regime hands over to the named one.
    """

    name: Identifier
    when: TriggerName
    level: Price | None = None
    closes: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] = 2
    from_: Items[str] | None = Field(default=None, alias="from")
    weights: GroupWeights = Field(default_factory=FrozenDict)
    flow_bn_per_session: Annotated[float, Field(ge=-1e4, le=1e4)] = 0.0
    lasts: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] | None = None
    then: str | None = None

    @model_serializer(mode="wrap")
    def _without_closes_of_touches(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Leave out `closes` where the trigger counts none, so that the tables can be read again; hashes keep it."""
        data: dict[str, Any] = handler(self)
        if info.mode == "python" and not TRIGGERS[self.when].counts_closes:
            data.pop("closes", None)
        return data


class Targets(ScenarioTable):
    """The two levels whose order of first touch a run counts: `upper` above spot, `lower` below it."""

    upper: Price
    lower: Price


class Scenario(ScenarioTable):
    """Scenario with everything that a simulation depends on, validated and frozen.

    Errors: `pydantic.ValidationError` for a single key's type or range, `sim.errors.InputError` for keys that
    contradict each other or the exchange calendar. `sim.scenario.file.scenario_from_mapping` reports both together.
    A scenario that exists has been checked, once: nothing later looks at its dates again.
    """

    schema_version: Annotated[int, Field(ge=1, le=1, alias="schema")]
    name: Title
    description: Annotated[str, Field(max_length=10_000)] = ""
    levels: Annotated[Items[Price], Field(max_length=MAX_LEVELS)] = ()
    market: Market
    volatility: Volatility
    drift: Drift = Field(default_factory=Drift)
    jumps: Jumps = Field(default_factory=Jumps)
    catalyst: Annotated[Items[Catalyst], Field(max_length=MAX_SESSIONS)] = ()
    dealers: Dealers = Field(default_factory=Dealers)
    regime: Annotated[Items[Regime], Field(max_length=MAX_REGIMES)] = ()
    targets: Targets

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = cross_field_problems(self)
        if problems:
            raise InputError(problems)
        return self

    def __repr__(self) -> str:
        market, book = self.market, self.dealers.book
        until = f"{market.sessions} sessions" if market.until is None else f"until {market.until}"
        positions = len(self.dealers.position) + (0 if book is None else len(book))
        size = f"{positions:,} positions, {len(self.regime)} regimes"
        return short_repr(self, f"{self.name}: {market.spot:,.10g} on {market.as_of}, {until}, {size}")

    def with_changes(self, changes: Overrides) -> Scenario:
        """Scenario with some keys changed, validated like a file's.

        changes : as the overrides of `sim.scenario.file.load_scenario`, {"dealers.impact_bp_per_bn": 1} for one; a
            star behind a key multiplies what stands there, {"dealers.position[wall].gex_bn*": 0.5}, a default too.
            A book file that they name lies in the present folder; the rows of a book read before stay.

        Errors: `InputError` with every problem.
        """
        return changed_tables(Scenario, scenario_data(self), self.name, changes, argument="changes")

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the source of the scenario, for a reader of its odds; no part of the scenario itself."""
        return ()

    @property
    def all_levels(self) -> tuple[float, ...]:
        """Levels that every path is scored on, index points, ascending; see `sim.scenario.levels.all_levels`."""
        return all_levels(self)
