"""Session networks with attention."""
