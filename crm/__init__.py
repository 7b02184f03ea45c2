"""Facts: who the members are and what they did. Imports nothing above itself."""
