"""The tests of the benchmarks and of their tools share the device with `tests/gpu`."""

from gpu.conftest import cp  # noqa: F401
