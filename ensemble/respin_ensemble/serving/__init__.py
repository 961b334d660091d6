"""Triton in and out: what the `model.py` files of the model repository are made of.

Its modules import `triton_python_backend_utils`, which exists only inside a Python-backend stub.
"""
