"""The laws of linear operators on NumPy's arrays: every line of `operator_cases`. And that each law can fail."""

import numpy as np
import operator_laws
import pytest
from arrays import NUMPY
from operator_cases import Subject, convolution
from operator_laws import *  # noqa: F403
from operator_laws import LAWS, Trial

import sparsetconv as stc
from sparsetconv._arrays.threads import thread_count


@pytest.fixture
def arrays():
    """Return the kind of arrays that the laws are tried on."""
    return NUMPY


def kept(self, x):
    """Return the same array at every call, as a product must not."""
    self.product = getattr(self, "product", None)
    if self.product is None:
        self.product = stc.ConvOperator.matvec(self, x)
    return self.product


# for each law what a faulty operator has instead
FAULTS = {
    "shapes": {"_adjoint": lambda A: A},
    "products": {"_adjoint": lambda A: A.T},
    "adjoints": {"rmatvec": lambda A, y: A.T @ y},
    "linearity": {"matvec": lambda A, x: stc.ConvOperator.matvec(A, x * x)},
    "batches": {"apply": lambda A, x: stc.ConvOperator.apply(A, x[::-1])},
    "given_arrays": {"apply": lambda A, x, *_, **__: stc.ConvOperator.apply(A, x)},
    "ownership": {"matvec": kept},
    "matrices": {"tosparse": lambda A, format="csr": 2 * stc.ConvOperator.tosparse(A, format)},
    "gram": {"gram": lambda A: A.T @ A},
    "copies": {"__reduce__": lambda A: (type(A.T.T), (2 * A.kernel, A.input_shape))},
    "threads": {"matvec": lambda A, x: stc.ConvOperator.matvec(A, x) + thread_count()},
    "not_finite": {"_matmat": lambda A, X: stc.ConvOperator._matmat(A, np.nan_to_num(X))},
}


@pytest.mark.parametrize("law", LAWS)
def test_laws_can_fail(law, monkeypatch):
    monkeypatch.setattr(operator_laws, "SHARED", 0)
    subject = convolution(NUMPY, "complex128", "cropped", "reflect", "direct")
    A, M = subject.operator, subject.matrix

    def pattern():
        return abs(M).sign()

    law(Trial(NUMPY, Subject(A, M, 0, pattern)))
    A.__class__ = type("Faulty", (type(A),), FAULTS[law.__name__])
    with pytest.raises(AssertionError):
        law(Trial(NUMPY, Subject(A, M, 0, pattern)))


def test_every_law_has_a_fault():
    assert list(FAULTS) == [law.__name__ for law in LAWS]
