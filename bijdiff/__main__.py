"""`python -m bijdiff` is the command line."""

import sys

from .launch import main

sys.exit(main())
