"""The authors' own code as a reference: the checkpoints that it ran on, its inputs, and what it computed.

A reference folder (tests/reference) has, for each checkpoint at a reduced size, the keys and shapes of its layout and
the outputs of the original implementation; weights and inputs are made again from their names (`fill`).
"""
