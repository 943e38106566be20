"""The exchange's calendar and pure formulas: Black–Scholes, the normal distribution, closed forms."""
