"""Counts: a partition's events become one columnar record per event-time window."""
