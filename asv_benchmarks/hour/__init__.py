"""The parts of ``gpu_hour.py``, which measures a card that is available for an hour.

In reading order: ``steps`` (what a part consists of), ``record`` (files of results), ``worker`` (the process
in which steps run, up to a ``deadline``), ``programs`` (others that it starts), ``runner`` (a part within its
time), ``lab`` (arrays and clock of the card), ``limits``, ``measure``; then the parts ``checks`` (with
``smallest``), ``ceilings``, ``products`` and ``tuning`` (with ``costs``), which share ``problems`` and
``peers``; ``report`` reads all.
"""

# the module with the steps of each part
PARTS = {
    "tests": "hour.checks",
    "ceilings": "hour.ceilings",
    "products": "hour.products",
    "tuning": "hour.tuning",
}
