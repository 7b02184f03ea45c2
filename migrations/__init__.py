"""The schema's history. Migrations import no application code, so an old one runs for ever."""
