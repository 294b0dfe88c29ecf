"""The command line: the pipeline's stations as verbs."""

from tfrecsession.cli.main import main

__all__ = ["main"]
