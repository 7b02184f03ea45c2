"""Decisions: whom to contact, with what, when, and whether it worked. Imports crm, never bot."""
