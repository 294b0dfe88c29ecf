"""Models that read what items are made of."""
