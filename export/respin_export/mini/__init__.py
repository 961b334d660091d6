"""The mini set: ten small networks with the contracts of the full ones, trained on rendered scenes.

It runs on one CPU core, for tests and demos. `python -m respin_export.mini` writes it.
"""
