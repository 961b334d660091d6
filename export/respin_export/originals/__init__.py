"""The authors' original code as a reference: its checkpoints, inputs and outputs.

A reference folder (tests/reference) has, for each checkpoint at a reduced size, the keys and shapes of its layout and
the outputs of the original implementation; weights and inputs are recomputed from their names (`fill`).
"""
