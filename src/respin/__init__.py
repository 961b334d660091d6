"""Respin's core: what every part shares. It needs numpy and nothing else."""
