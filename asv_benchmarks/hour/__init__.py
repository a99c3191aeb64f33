"""The parts of ``gpu_hour.py``: what is measured on a card in the hour in which there is one.

In reading order: ``steps`` (what a part consists of), ``record`` (files of results), ``worker`` (the process
in which steps run), ``runner`` (a part within its time), ``lab`` (arrays, clock and limits of the card); then
the parts ``checks``, ``ceilings``, ``products`` and ``tuning``, with ``problems`` and ``peers``; ``report``
reads all.
"""
