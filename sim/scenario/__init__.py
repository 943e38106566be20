"""A user's words to a frozen Scenario: files, overrides, fragments, dates."""
