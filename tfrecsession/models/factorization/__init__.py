"""Matrix factorization, by gradient and by alternating least squares."""
