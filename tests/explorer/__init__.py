"""A stateless model checker that runs the real protocol classes under chosen interleavings, crashes and lost answers."""
