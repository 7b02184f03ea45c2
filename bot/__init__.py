"""The edge: WeCom, members' chats, staff's browsers, and the command line."""
