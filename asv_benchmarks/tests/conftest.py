"""The tests of the benchmarks and of their tools share the device with `tests/gpu`."""

from gpu.conftest import cp  # noqa: F401

# doctests are looked for in modules, and docs/ has one of this name
collect_ignore = ["conftest.py"]
