"""What asv would find in the suite, for tests on the CPU and on a GPU."""

import importlib
import inspect

from benchmarks import _backend, _problems, _roofline
from trees import ROOT

SUITE = ROOT / "asv_benchmarks"

MODULES = sorted(path.stem for path in (SUITE / "benchmarks").glob("[a-z]*.py"))
KINDS = ("time_", "track_", "peakmem_")


def questions():
    """Yield ``(module.Class, class)`` of all that asv would find."""
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        for cls in vars(module).values():
            if isinstance(cls, type) and not inspect.isabstract(cls) and measurements(cls):
                yield f"{name}.{cls.__name__}", cls


def measurements(cls):
    return [name for name in dir(cls) if name.startswith(KINDS) and callable(getattr(cls, name))]


def smallest(cls):
    """Return the first of each parameter's values, the backend left out."""
    return tuple(values[0] for values in cls.params[:-1])


def forget():
    """Forget what a test made, so that no other test uses it."""
    for cached in (
        _backend.get,
        _problems.matrix,
        _problems.operator,
        _roofline.copy_rate,
        _roofline.product_rate,
    ):
        cached.cache_clear()


QUESTIONS = dict(questions())
ON_CPU = {name: cls for name, cls in QUESTIONS.items() if "numpy" in cls.params[-1]}
ON_GPU = {name: cls for name, cls in QUESTIONS.items() if "cupy" in cls.params[-1]}
