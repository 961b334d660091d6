"""Whole jobs on the real server: under load, with many views, and where one job's time goes."""
