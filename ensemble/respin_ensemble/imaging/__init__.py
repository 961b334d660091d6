"""Pixels: files to arrays and back, the tensor forms that the networks take, and masks."""
