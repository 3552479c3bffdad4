"""Learns: simulates traffic and judges detection. Values in, values out."""
