"""The manager's screens, one file a subject. Each has its routes in SCREENS; every.py lists them."""
