"""results.json -> report.html."""

from tfrecsession.evaluation.report.page import read_results, write_report

__all__ = ["read_results", "write_report"]
