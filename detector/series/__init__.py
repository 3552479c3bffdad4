"""Detection on plain time series: gauges, counts and shares, one row at a time."""

from detector.series.detector import THRESHOLD, Kind, Row, SeriesDetector

__all__ = ["THRESHOLD", "Kind", "Row", "SeriesDetector"]
