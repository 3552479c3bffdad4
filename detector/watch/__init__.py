"""Watches: from a window's counts to anomalies, each with its cause, onset and evidence."""
