"""Detectors that plug in by dotted path: found, made and held to one contract."""
