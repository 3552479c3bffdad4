"""Moves. The only folder that touches a network, a disk, a clock or a person's phone."""
