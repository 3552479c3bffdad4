"""Seeded traffic of an online shop and bank with planted problems: demo, tests and benchmarks share it."""

from models.simulate.play import World, simulate

__all__ = ["World", "simulate"]
