"""The search for the best model of a log: trials by successive halving, a blend, refit, test and export."""
