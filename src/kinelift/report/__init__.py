"""The quality report: what a take is worth, in numbers, and where its scale, focal length and world came from."""

from kinelift.report.quality import quality

__all__ = ["quality"]
