"""The floor everything stands on: time, errors, the database, events, the outbox. Imports nothing of ours."""
