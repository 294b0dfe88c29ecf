"""The synthetic shop: a log generator whose best attainable score is known."""
