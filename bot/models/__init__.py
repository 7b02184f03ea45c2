"""Tables of the edge: what WeCom, members' chats and staff's desks need to remember."""
