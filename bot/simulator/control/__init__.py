"""The control interface under /sim: what people do on phones and in staff clients, and what the console turns."""
