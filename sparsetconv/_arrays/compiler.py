"""Compile functions with numba, and cache the machine code on disk if possible.

Where no folder is writable (a read-only installation and home, as in containers and serverless functions),
each process compiles for itself. The package may also be imported from a zip archive.
"""

from __future__ import annotations

import os
import sys
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache, NullCache, _CacheLocator
from numba.misc.appdirs import AppDirs

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def version_of(*modules: ModuleType) -> int:
    """Return a number that changes with the sources of modules, which may lie in an archive."""
    return zlib.crc32(b"".join(map(_source, modules)))


def _source(module: ModuleType) -> bytes:
    loader: Any = module.__loader__
    try:
        data: bytes = loader.get_data(module.__file__)
    except OSError:
        # a frozen program has no sources; numba's cache checks the executable instead
        return b""
    return data


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function for each combination of argument types, and cache the result on disk.

    The values in its closure are part of the cache's key.
    """
    dispatcher = njit(**OPTIONS)(function)
    if dispatcher is function:
        msg = "compiled loops need numba's compiler, which numba.config.DISABLE_JIT turns off"
        raise RuntimeError(msg)
    dispatcher._cache = _cache_of(function)
    return dispatcher


def _cache_of(function: Callable[..., None]) -> Any:
    try:
        return _Cache(function)
    except (OSError, RuntimeError) as error:
        # numba raises RuntimeError if it finds no folder that can be written to
        _warn_once(error)
        return NullCache()


_warned = False


def _warn_once(error: Exception) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    cause = str(error)[:200]
    warnings.warn(
        "numba cannot cache the compiled loops of sparsetconv on disk, so each process compiles them again, "
        "for about a second; set the environment variable NUMBA_CACHE_DIR to a writable folder "
        f"({cause})",
        RuntimeWarning,
        stacklevel=2,
    )


class _ArchiveLocator(_CacheLocator):  # type: ignore[misc]
    """The cache folder of functions imported from an archive; numba's own locators serve files."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        user: str = AppDirs(appname="numba", appauthor=False).user_cache_dir
        self._path = Path(config.CACHE_DIR or user, self.get_suitable_cache_subpath(py_file))
        self._line = py_func.__code__.co_firstlineno
        self._stamp = version_of(sys.modules[py_func.__module__])

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return a locator, or None for a function of a file, or if the folder cannot be written to."""
        if Path(py_file).exists() or getattr(sys, "frozen", False):
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator

    def get_cache_path(self) -> str:
        """Return the cache folder."""
        return os.fspath(self._path)

    def get_source_stamp(self) -> int:
        """Return a number that changes with the sources."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return the line number, which tells functions of one name and file apart."""
        return str(self._line)


class _Places(FunctionCache._impl_class):  # type: ignore[misc]
    _locator_classes = (_ArchiveLocator, *FunctionCache._impl_class._locator_classes)


class _Cache(FunctionCache):  # type: ignore[misc]
    """A cache whose errors never reach the user: a file that cannot be read is written again, or dropped."""

    _impl_class = _Places

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return machine code from the cache, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # a damaged file can raise any exception
            self._without_errors(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write machine code to the cache."""
        self._without_errors(super().save_overload, sig, data)

    def _without_errors(self, write: Callable[..., object], *args: Any) -> None:
        try:
            write(*args)
        except OSError as error:
            self.disable()
            _warn_once(error)
