"""Tables of decisions: what was offered to whom, and what may reach them."""
