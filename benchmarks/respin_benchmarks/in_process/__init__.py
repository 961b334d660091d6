"""Measurements without a server: each network by itself, and whole jobs, on the CPU or on a GPU."""
