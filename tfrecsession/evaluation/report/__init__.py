"""results.json -> report.html, and drawings of a model at work."""

from tfrecsession.evaluation.report.attention import draw_attention
from tfrecsession.evaluation.report.html import read_results, write_report

__all__ = ["draw_attention", "read_results", "write_report"]
