"""The chat archive of customer groups."""
