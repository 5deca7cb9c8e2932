"""`python -m focus_ray` is `focus-ray`."""

import sys

from focus_ray.cli import main

sys.exit(main())
