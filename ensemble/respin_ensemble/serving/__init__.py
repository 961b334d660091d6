"""The Python models that Triton runs, used by the `model.py` files of the model repository.

These modules import `triton_python_backend_utils`, which exists only inside a Python-backend stub.
"""
