"""Keep a tensor whose shape does not fit into memory from ending the process of a Python model.

Triton 2.51 compares a tensor's bytes with its shape in 64-bit arithmetic that wraps: FP32 of shape [2^62] without data
passes. Its stub then makes the array before `execute` is called, NumPy refuses, and the uncaught exception ends the
process with all of its jobs. So the stub gets NumPy's constructor through `_new_from_descr`, which turns a refusal into
an array that no contract allows; `respin_ensemble.serving.replies.read_inputs` refuses it in words.

There is no other place: the stub is a binary, the exception passes through no Python code of ours, and Triton has no
option for it. What the patch rests on (tests/ensemble/serving/test_hostile_tensors.py runs it):

* The stub takes NumPy's addresses once, when it first makes or reads an array (pybind11), and keeps them. NumPy's table
  is changed for that moment only; whatever else looks at it meanwhile gets a constructor that does the same.
* That moment is in `initialize`, with the GIL held: no other thread of Python runs, and the stub makes no array.
* The constructor takes the reference to the element type, also where it fails, so this module makes none for it, only
  one that it needs itself; ctypes hands the new array's reference on to the stub.
* A C caller cannot take an exception from here: every `Exception` is answered with an array.
* The position in the table is part of NumPy's binary interface, in version 2 too. Triton 2.51 runs with version 1 only.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.specs import Array

REFUSED_RANK = 32
"""Number of axes of the array that stands for a tensor that NumPy cannot hold; NumPy 1 has no higher one."""

_NEW_FROM_DESCR = 94
"""Index of `PyArray_NewFromDescr` in NumPy's C API, the same in all versions (numpy/core/code_generators)."""

_Lengths = ctypes.POINTER(ctypes.c_ssize_t)
# subtype, descr, nd, dims, strides, data, flags, obj; a PYFUNCTYPE holds the GIL and passes exceptions on.
_NewFromDescr = ctypes.PYFUNCTYPE(
    ctypes.py_object,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
    _Lengths,
    _Lengths,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
)

_installed: list[_Guard] = []
"""At most one; it must live as long as the process."""


def guard_tensors() -> None:
    """Guard the arrays that the stub makes of tensors; call it in `initialize`, before the stub has made any tensor.

    The stub copies the addresses of NumPy's functions when it first needs one. That is brought about here, while
    NumPy's table has the guard in it. Called later, it is without effect.
    """
    if _installed:
        return
    multiarray: Any = importlib.import_module("numpy.core.multiarray")
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = ctypes.cast(address(multiarray._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    original = table[_NEW_FROM_DESCR]
    guard = _Guard(_NewFromDescr(original or 0))
    table[_NEW_FROM_DESCR] = ctypes.cast(guard.function, ctypes.c_void_p).value
    try:
        pb_utils.Tensor("guard", np.zeros(1, np.float32))
    finally:
        table[_NEW_FROM_DESCR] = original
    _installed.append(guard)


def is_refused(array: Array) -> bool:
    """Whether an array stands for a tensor that NumPy could not hold."""
    return array.ndim == REFUSED_RANK


class _Guard:
    """NumPy's constructor, which answers with a refused array where it would raise."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self.function = _NewFromDescr(self._new)

    def _new(self, subtype: int, descr: int, *rest: Any) -> Array:
        # The constructor takes the caller's reference to the element type, also where it fails.
        dtype: np.dtype[Any] = ctypes.cast(descr, ctypes.py_object).value
        try:
            array: Array = self._original(subtype, descr, *rest)
        except Exception:  # an exception here would end the process, which is what the guard prevents
            return np.empty((0,) * REFUSED_RANK, dtype)
        return array
