"""A WeCom on your laptop. Shares no code with bot.wecom, so that one misreading cannot hide another."""
