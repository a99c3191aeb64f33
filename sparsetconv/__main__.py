"""``python -m sparsetconv``."""

import sys

from sparsetconv.cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m sparsetconv"))
