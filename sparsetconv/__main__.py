"""``python -m sparsetconv``."""

import sys

from sparsetconv._cli.main import main

if __name__ == "__main__":
    sys.exit(main(program="python -m sparsetconv"))
