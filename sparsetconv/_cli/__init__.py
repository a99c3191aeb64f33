"""The command line: ``main`` (the parser and the commands), ``plan``, ``demo`` and ``demo_figure``."""
