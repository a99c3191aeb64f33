"""Describe this machine in the fields of asv's machine files, without its host name."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from pathlib import Path
from typing import Any


def slug(text: str) -> str:
    """Return a text as part of a file name: ``NVIDIA H200`` becomes ``h200``."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    noise = {"nvidia", "intel", "amd", "r", "tm", "cpu", "processor", "core", "gpu", "geforce", "tesla"}
    return "-".join(word for word in words if word not in noise)


def gpu_fields(cupy: Any) -> dict[str, str]:
    """Return the extra fields of a machine with a GPU: its name, and CUDA's version."""
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    version = cupy.cuda.runtime.runtimeGetVersion()
    name = properties["name"]
    return {
        "gpu": name.decode() if isinstance(name, bytes) else name,
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
    }


def cupy_or_reason() -> tuple[Any, str]:
    """Return CuPy if it can compute, otherwise None and the reason."""
    try:
        import cupy
    except ImportError as error:
        return None, f"CuPy cannot be imported ({error})"
    if not cupy.is_available():
        return None, "CuPy finds no GPU"
    return cupy, ""


def cpus() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def memory() -> str:
    """Return the memory in GB, rounded so that it stays the same on one machine."""
    try:
        return f"{round(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9)} GB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def machine_name(text: str) -> str:
    """Check and return a machine's name, which is also that of a folder."""
    if not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text):
        msg = f"a machine's name must be of small letters, digits, dashes and dots, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


def describe(name: str | None, results: Path, cupy: Any) -> dict[str, str]:
    """Return the machine file's content.

    The name, where none is given, says what was measured: ``cpu-2core``, ``gpu-h200``; the processor is added
    if the results have another machine of that name.
    """
    machine = {
        "os": platform.system(),
        "arch": platform.machine(),
        "cpu": cpu_model(),
        "num_cpu": str(cpus()),
        "ram": memory(),
    } | (gpu_fields(cupy) if cupy is not None else {})
    if name is None:
        name = f"gpu-{slug(machine['gpu'])}" if "gpu" in machine else f"cpu-{machine['num_cpu']}core"
        if not _fits(results / name / "machine.json", machine):
            name += f"-{slug(machine['cpu'])}"
    return {"machine": name} | machine


def _fits(path: Path, machine: dict[str, str]) -> bool:
    """Return whether a machine file is absent or of the same hardware."""
    if not path.exists():
        return True
    known = json.loads(path.read_text())
    return all(known.get(key) == machine.get(key) for key in ("cpu", "num_cpu", "gpu"))
