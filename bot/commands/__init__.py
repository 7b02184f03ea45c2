"""Commands beside those of bot/cli.py, one file a subject."""
