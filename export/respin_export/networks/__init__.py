"""The ten networks as the contracts see them: thin modules round the maintained classes.

Each `forward` takes the contract's inputs by name, with a leading batch axis, and returns its outputs in the
contract's order. They hold nothing that depends on the size of the weights inside.
"""
