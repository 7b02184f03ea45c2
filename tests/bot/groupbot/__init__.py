"""The AI bot in internal groups."""
