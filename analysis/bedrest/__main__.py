"""`python -m bedrest` is `bedrest`."""

import sys

from bedrest.cli import main

if __name__ == "__main__":
    sys.exit(main())
