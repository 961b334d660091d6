"""The mini set: the ten networks with small insides, trained on rendered scenes, and the contracts of the full ones.

Everything above the contracts can be run and tested with it on one CPU core: `python -m respin_export.mini`.
"""
