"""Misfit prior as a Ray job: ray job submit --working-dir . -- python jobs/misfit_prior.py ..."""

import sys
from pathlib import Path


def main() -> int:
    """Run `focus-ray prior build` with the same options, from the package next to this folder."""
    # First on the path, so that a job runs the uploaded code and not a package installed on the cluster.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from focus_ray import cli

    return cli.main(["prior", "build", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
