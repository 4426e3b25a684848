"""`python -m nlmeans_cli` is `nlm`."""

import sys

from nlmeans_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
