"""Scenario to EnginePlan, and what is counted."""
