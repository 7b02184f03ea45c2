"""Outgoing webhooks: our events, signed, at other systems' addresses, at least once."""
