"""The chat archive (会话内容存档): customer groups read in batches where the shop has licensed it. It never answers."""
