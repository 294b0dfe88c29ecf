"""Logs that Spark reads, and the connection that runs the pipeline on it."""
