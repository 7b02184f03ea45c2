"""Subscriptions at the edge: what members write and read about them, and the ways their reminders go."""
