"""``python -m fastrefocus`` is the program ``fastrefocus``."""

import sys

from fastrefocus.cli import main

sys.exit(main())
