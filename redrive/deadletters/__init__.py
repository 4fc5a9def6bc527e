"""Dead letters: writing and reading them."""
