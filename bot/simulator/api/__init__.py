"""The vendor's HTTP API: one small function per call, found through a table of paths."""
