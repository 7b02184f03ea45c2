"""Who may sit at the staff's browser: accounts and their roles, sign-ins, and the log of what was done there."""
