"""The command line: one command per stage of the pipeline."""

from tfrecsession.cli.program import main

__all__ = ["main"]
