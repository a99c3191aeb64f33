"""Files by SciPy, whose readers ask for arrays from some version on."""

import inspect


def read(function, *arguments):
    """Read a file, sparse matrices as arrays where SciPy can."""
    arrays = {"spmatrix": False} if "spmatrix" in inspect.signature(function).parameters else {}
    return function(*arguments, **arrays)
