"""The quality report: what a take is worth, in numbers, over time and in plain words, and what to film differently."""

from kinelift.report.page import judged_report, report_page, write_report
from kinelift.report.quality import quality

__all__ = ["judged_report", "quality", "report_page", "write_report"]
