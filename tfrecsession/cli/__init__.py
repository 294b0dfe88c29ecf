"""The command line: the pipeline's stations as verbs."""

from tfrecsession.cli.program import main

__all__ = ["main"]
