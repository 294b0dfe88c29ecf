"""Spark as an engine: its sources of logs, and the connection that runs the pipeline."""
