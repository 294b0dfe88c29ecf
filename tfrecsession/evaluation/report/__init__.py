"""The HTML report of a comparison, and drawings of attention."""

from tfrecsession.evaluation.report.attention import draw_attention
from tfrecsession.evaluation.report.html import read_results, write_report

__all__ = ["draw_attention", "read_results", "write_report"]
