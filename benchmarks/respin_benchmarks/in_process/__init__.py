"""Measurements without a server: single networks, and whole jobs, on the CPU or on a GPU."""
