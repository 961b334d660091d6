"""NVIDIA's perf_analyzer on Respin's models: its input files, its runs, its figures as our rows."""
