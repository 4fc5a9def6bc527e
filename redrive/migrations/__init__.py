"""Moving a topic's events from one schema to another: what is there, what the move takes, and the move of one event."""
