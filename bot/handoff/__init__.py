"""When the bot should not go on: who takes over, and what the customer is told meanwhile."""
