"""The only code that knows WeCom's wire format: calls out, callbacks in, typed errors and events."""
