"""Tables of the facts: who the members are, whom they know, where they meet, what they agreed to and bought."""
