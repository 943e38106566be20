"""Random valid scenarios, short enough to simulate in a moment, that together use every feature of the model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sim.errors import InputError
from sim.market.calendar import trading_calendar
from sim.plan.builder import Prepared, prepare
from sim.scenario.file import scenario_from_mapping

COUNT, SEED = 20, 7
Data = dict[str, Any]
GROUPS = ("wall", "puts", "tail")
TRIGGERS = ("closes_above", "closes_below", "touches_above", "touches_below")
SPOTS = (6941.81, 18_250.5, 87.3)
# Trading steps beyond the first come four per call of the generator: 0 to 3 are left over.
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 26)
FIRST_SESSION, LAST_SESSION = dt.date(2025, 11, 3), dt.date(2026, 8, 3)


class Draw:
    """Random choices of one scenario; `index` steers what must occur in some of them."""

    def __init__(self, index: int, rng: np.random.Generator):
        self.index, self.rng = index, rng
        self.spot = SPOTS[index % len(SPOTS)]
        calendar = trading_calendar()
        first, last = calendar.position(FIRST_SESSION), calendar.position(LAST_SESSION)
        start = int(rng.integers(first, last))
        self.as_of = calendar.session(start)
        self.horizon = [calendar.session(start + 1 + k) for k in range(int(rng.integers(1, 9)))]
        self.later = [calendar.session(start + len(self.horizon) + k) for k in (1, 2, 5, 15)]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 6)

    def one_of(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def some_of(self, values: Any, most: int) -> list[Any]:
        """From one value to `most`, none twice."""
        count = int(self.rng.integers(1, min(most, len(values)) + 1))
        return [values[i] for i in sorted(self.rng.permutation(len(values))[:count])]

    def price(self, low: float, high: float) -> float:
        """Price so far from the spot, as a log return, rounded as prices are."""
        return round(self.spot * float(np.exp(self.rng.uniform(low, high))), 2)


def mapping(index: int, rng: np.random.Generator) -> Data:
    """A scenario as its file would give it; mostly a valid one."""
    draw = Draw(index, rng)
    data: Data = {
        "schema": 1,
        "name": f"random-{index}",
        "market": {"as_of": draw.as_of, "spot": draw.spot, "sessions": len(draw.horizon)},
        "volatility": _volatility(draw),
        "drift": {"annual": draw.between(-0.5, 0.5)},
        "targets": {"upper": draw.price(0.001, 0.03), "lower": draw.price(-0.03, -0.001)},
        "levels": _levels(draw),
        "catalyst": _catalysts(draw),
    }
    if draw.chance(0.4):
        data["jumps"] = {"per_year": draw.between(5, 150), "mean": draw.between(-0.03, 0.03), "sd": 0.01}
    if draw.chance(0.85):
        data["dealers"] = _dealers(draw)
    if draw.chance(0.85):
        data["regime"] = _regimes(
            draw, sorted({p["group"] for p in data.get("dealers", {}).get("position", ())})
        )
    return data


def _volatility(draw: Draw) -> Data:
    data: Data = {
        "annual": draw.between(0.1, 0.5),
        "quoted": draw.one_of(["observed", "fundamental"]),
        "overnight_share": draw.one_of([0.0, 0.2, 0.46, 0.7]),
        "steps_per_session": STEPS[draw.index % len(STEPS)],
        "intraday_shape": draw.one_of(["flat", "u"]),
    }
    if draw.chance(0.6):
        data["tail_dof"] = draw.between(2.5, 12)
    if draw.chance(0.6):
        alpha, gamma = draw.between(0, 0.1), draw.between(0, 0.3)
        beta = draw.between(0.3, 0.99 - alpha - gamma / 2)
        data |= {"alpha": alpha, "gamma": gamma, "beta": beta, "long_run_annual": draw.between(0.1, 0.4)}
    return data


def _levels(draw: Draw) -> list[float]:
    low, high = draw.one_of([(0.0005, 0.05), (-0.05, -0.0005), (-0.06, 0.06), (-0.004, 0.004)])
    count = draw.one_of([0, 1, 2, 5, 12, 18])
    return sorted({draw.price(low, high) for _ in range(count)} - {draw.spot})


def _catalysts(draw: Draw) -> list[Data]:
    sessions = draw.some_of(draw.horizon, 2) if draw.chance(0.6) else []
    catalysts = []
    for session in sessions:
        shares = draw.rng.dirichlet(np.ones(int(draw.rng.integers(2, 5)))).round(3)
        shares[-1] = 1 - shares[:-1].sum()
        outcomes = [
            {
                "probability": float(p),
                "mean": draw.between(-0.02, 0.02),
                "sd": draw.one_of([0.0, 0.004, 0.01]),
            }
            for p in shares
        ]
        catalysts.append({"session": session, "name": "news", "outcomes": outcomes})
    return catalysts


def _dealers(draw: Draw) -> Data:
    return {
        "impact_bp_per_bn": 0.0 if draw.chance(0.15) else draw.between(0.5, 4),
        "impact_half_life": 0.0 if draw.chance(0.4) else draw.between(0.2, 4),
        "m_floor": draw.one_of([0.0, 0.2, 0.4]),
        "position": [_position(draw) for _ in range(int(draw.rng.integers(1, 6)))],
    }


def _position(draw: Draw) -> Data:
    sign = draw.one_of([-1, 1])
    data: Data = {
        "group": draw.one_of(GROUPS),
        "type": draw.one_of(["call", "put"]),
        "strike": draw.price(-0.05, 0.05),
        "expiry": draw.one_of([*draw.horizon, *draw.later]),
        "settlement": draw.one_of(["AM", "PM"]),
        "iv": draw.between(0.1, 0.4),
    }
    if draw.chance(0.5):
        data["gex_bn"] = sign * draw.between(1, 25)
    else:
        data["contracts"] = sign * draw.between(3e7, 3e8) / draw.spot
    if draw.chance(0.3):
        data["carry"] = draw.between(-0.05, 0.05)
    return data


def _regimes(draw: Draw, groups: list[str]) -> list[Data]:
    triggers = draw.some_of(TRIGGERS, 4)
    names = [f"r{k}" for k in range(len(triggers))]
    regimes = [_regime(draw, name, when, names, groups) for name, when in zip(names, triggers, strict=True)]
    # A chain of hand-overs behind one of the regimes, over regimes that nothing else leads to.
    chain = int(draw.rng.integers(0, 3))
    here = draw.one_of(regimes)
    for k in range(chain):
        here |= {"lasts": int(draw.rng.integers(1, 4)), "then": f"then{k}"}
        here = {"name": f"then{k}", "when": "never", **_effects(draw, groups)}
        regimes.append(here)
    if draw.chance(0.5):
        # To a regime that its own trigger may have led to before.
        here |= {"lasts": int(draw.rng.integers(1, 3)), "then": draw.one_of(names)}
    draw.rng.shuffle(regimes)
    return regimes


def _regime(draw: Draw, name: str, when: str, names: list[str], groups: list[str]) -> Data:
    above = when.endswith("above")
    data: Data = {"name": name, "when": when, **_effects(draw, groups)}
    if when.startswith("closes"):
        # On either side of the spot: at the start the trigger may hold already.
        data |= {"level": draw.price(-0.02, 0.02), "closes": int(draw.rng.integers(1, 4))}
    else:
        data["level"] = draw.price(0.001, 0.03) if above else draw.price(-0.03, -0.001)
    if draw.chance(0.4):
        others = ["initial", *(other for other in names if other != name)]
        data["from"] = draw.some_of(others, len(others))
    return data


def _effects(draw: Draw, groups: list[str]) -> Data:
    data: Data = {}
    if groups and draw.chance(0.7):
        data["weights"] = {group: draw.between(-0.5, 2) for group in draw.some_of(groups, 3)}
    if draw.chance(0.5):
        data["flow_bn_per_session"] = draw.between(-20, 20)
    return data


@cache
def random_scenarios(count: int = COUNT, seed: int = SEED) -> tuple[Prepared, ...]:
    """Prepared scenarios, those that are refused drawn again."""
    rng = np.random.default_rng(seed)
    found: list[Prepared] = []
    while len(found) < count:
        try:
            found.append(prepare(scenario_from_mapping(mapping(len(found), rng), "random")))
        except InputError:
            continue
    return tuple(found)


def features_of(prepared: Prepared) -> set[str]:
    """Features that a scenario uses, from its validated form."""
    return {name for name, uses in FEATURES.items() if uses(prepared)}


def _any(values: Any, condition: Callable[[Any], bool]) -> bool:
    return any(map(condition, values))


def _expires(p: Prepared, settlement: str, inside: bool) -> bool:
    last = p.grid.sessions[-1]
    return _any(
        p.scenario.dealers.position, lambda o: o.settlement == settlement and (o.expiry <= last) == inside
    )


def _chain(p: Prepared) -> int:
    """Most hand-overs in a row."""
    follows = {r.name: r.then for r in p.scenario.regime if r.then}

    def length(name: str) -> int:
        return 1 + length(follows[name]) if name in follows else 0

    return max((length(r.name) for r in p.scenario.regime), default=0)


FEATURES: dict[str, Callable[[Prepared], bool]] = {
    **{
        kind: lambda p, kind=kind: _any(p.scenario.dealers.position, lambda o: o.type == kind)
        for kind in ("call", "put")
    },
    **{
        f"{settlement} expiry {where}": lambda p, s=settlement, w=where: _expires(p, s, w == "inside")
        for settlement in ("AM", "PM")
        for where in ("inside", "beyond")
    },
    "no position": lambda p: not p.scenario.dealers.position,
    "carry": lambda p: _any(p.scenario.dealers.position, lambda o: o.carry != 0),
    "several groups": lambda p: len({o.group for o in p.scenario.dealers.position}) > 1,
    "gex_bn": lambda p: _any(p.scenario.dealers.position, lambda o: o.gex_bn is not None),
    "contracts": lambda p: _any(p.scenario.dealers.position, lambda o: o.contracts is not None),
    "long": lambda p: _any(p.scenario.dealers.position, lambda o: (o.gex_bn or o.contracts) > 0),
    "short": lambda p: _any(p.scenario.dealers.position, lambda o: (o.gex_bn or o.contracts) < 0),
    "no floor": lambda p: not p.plan.identity_map and p.scenario.dealers.m_floor == 0,
    "floor binds": lambda p: bool(p.floor_events),
    "no impact": lambda p: bool(p.scenario.dealers.position) and p.scenario.dealers.impact_bp_per_bn == 0,
    "lasting impact": lambda p: not p.plan.identity_map and p.plan.fade == 0,
    "fading impact": lambda p: not p.plan.identity_map and p.plan.fade > 0,
    "no regime": lambda p: not p.scenario.regime,
    **{
        when: lambda p, when=when: _any(p.scenario.regime, lambda r: r.when == when)
        for when in (*TRIGGERS, "never")
    },
    **{
        f"{closes} closes": lambda p, c=closes: _any(
            p.scenario.regime, lambda r: r.when.startswith("closes") and r.closes == c
        )
        for closes in (1, 2, 3)
    },
    "close at the start counts": lambda p: bool(p.plan.run_start.any()),
    "from": lambda p: _any(p.scenario.regime, lambda r: r.from_ is not None),
    "weights": lambda p: p.plan.books > 1 and not p.plan.identity_map,
    "books without a map": lambda p: p.plan.books > 1 and p.plan.identity_map,
    "flow": lambda p: bool(p.plan.regime_flow.any()),
    "hand-over": lambda p: _chain(p) == 1,
    "chain of hand-overs": lambda p: _chain(p) == 2,
    "hand-over to a regime with a trigger": lambda p: _any(
        p.scenario.regime, lambda r: r.then is not None and r.then.startswith("r")
    ),
    "catalyst": lambda p: bool(p.scenario.catalyst),
    **{
        f"{n} outcomes": lambda p, n=n: _any(p.scenario.catalyst, lambda c: len(c.outcomes) == n)
        for n in (2, 3, 4)
    },
    "jumps": lambda p: p.scenario.jumps.per_year > 0,
    "catalyst and jumps": lambda p: bool(p.scenario.catalyst) and p.scenario.jumps.per_year > 0,
    "no gap outcome": lambda p: not p.plan.outcome_mean.size,
    "Student-t": lambda p: p.scenario.volatility.tail_dof is not None,
    "normal shocks": lambda p: p.scenario.volatility.tail_dof is None,
    "GARCH": lambda p: not p.plan.constant_variance,
    "constant variance": lambda p: p.plan.constant_variance,
    "no overnight variance": lambda p: p.scenario.volatility.overnight_share == 0,
    "flat shape": lambda p: p.scenario.volatility.intraday_shape == "flat",
    "u shape": lambda p: p.scenario.volatility.intraday_shape == "u",
    "one trading step": lambda p: p.grid.steps_per_session == 1,
    "26 trading steps": lambda p: p.grid.steps_per_session == 26,
    "odd number of normals": lambda p: p.plan.steps_per_session % 2 == 1,
    **{
        f"{left} steps after whole calls": lambda p, left=left: (p.grid.steps_per_session - 1) % 4 == left
        for left in range(4)
    },
    "targets alone": lambda p: len(p.scenario.all_levels) == 2,
    "20 levels": lambda p: len(p.scenario.all_levels) >= 20,
    "levels on one side": lambda p: p.plan.level_count.min() == 1 and p.plan.level_count.max() > 2,
    "levels close to the spot": lambda p: (
        p.plan.level_count.sum() > 8 and np.abs(p.plan.level[:, 1]).max() < 0.002
    ),
    "one session": lambda p: p.grid.n_sessions == 1,
    "eight sessions": lambda p: p.grid.n_sessions == 8,
}
