"""The AI bot (智能机器人) in internal groups: the same articles, no member, an answer that may take its time."""
