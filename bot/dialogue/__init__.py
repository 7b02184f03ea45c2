"""The talk with a customer: a turn comes in, one handler answers, effects and reply commit together."""
