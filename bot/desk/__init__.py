"""The agents' desk: queues, the conversation as it was, what agents note beside it. The tickets are handoff's."""
