"""The flash sale (秒杀): sales and their items, claims on them, payment or release, and who waits."""
