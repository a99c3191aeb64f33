"""The command line: ``main`` (words become arguments), ``plan``, ``demo`` and ``demo_figure``."""
