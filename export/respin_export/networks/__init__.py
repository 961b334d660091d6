"""The ten networks of the contracts: thin modules around the libraries' classes.

Each `forward` takes the contract's inputs by name, with a leading batch axis, and returns its outputs in the
contract's order. They do not depend on the size of the wrapped network.
"""
