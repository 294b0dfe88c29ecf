"""Linear models over the items of a session."""
