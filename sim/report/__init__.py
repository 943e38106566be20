"""Terminal text and pictures."""
