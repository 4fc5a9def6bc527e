"""A stateless model checker: runs the real protocol classes under chosen interleavings, crashes and lost answers."""
