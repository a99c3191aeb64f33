"""NumPy's arrays and CuPy's, as the tests of laws see them: made from arrays on the host, and looked at there."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetconv._arrays import backend


@dataclass(frozen=True)
class Arrays:
    """One kind of arrays; a fixture ``arrays`` of a test module says which one its tests are run on."""

    xp: Any

    @property
    def on_device(self):
        return self.xp is not np

    @property
    def emulated(self):
        return self.xp.__version__.endswith("(emulated)")

    @property
    def options(self):
        """What functions take that are given no array."""
        return {"device": "cupy"} if self.on_device else {}

    @property
    def threads(self):
        """How many may call at the same time: the emulation's kernels run on one thread."""
        return 1 if self.on_device and self.emulated else 8

    def put(self, host):
        """Return an array of this kind."""
        return self.xp.asarray(host)

    def matrix(self, host):
        """Return a CSR matrix of this kind, whose arrays are as they are."""
        if not self.on_device:
            return host
        arrays = (self.put(a) for a in (host.data, host.indices, host.indptr))
        return backend.cupy_backend().sparse.csr_matrix(tuple(arrays), shape=host.shape)

    def fixed(self, host):
        """Return an array of this kind that nobody may write to, where there are such arrays."""
        array = self.xp.array(host)
        if not self.on_device:
            array.setflags(write=False)
        return array

    def get(self, value):
        """Return what is looked at: an array on the host."""
        if not self.on_device:
            return value
        assert isinstance(value, self.xp.ndarray)
        return value.get()

    def sparse(self, operator, format="csr"):
        """Return an operator's matrix, as it is assembled here, as one of SciPy's."""
        matrix = operator.tosparse(format)
        return matrix.get() if self.on_device else matrix

    def dense(self, operator):
        """Return an operator's matrix, as it is assembled here, as a dense array on the host."""
        return self.sparse(operator).toarray()

    def pickled(self, operator):
        """Return a copy by way of a text, or, as the emulation's arrays have none, by what it is made of."""
        if self.on_device and self.emulated:
            make, arguments = operator.__reduce__()
            return make(*arguments)
        return pickle.loads(pickle.dumps(operator))


NUMPY = Arrays(np)
