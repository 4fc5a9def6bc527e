"""The exactly-once pump: source → transform → transactional sink, at a governed pace, proved by read-back."""
