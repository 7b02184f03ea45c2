"""`python -m bot` is the same program as `siyu`."""

from bot.cli import main

main()
