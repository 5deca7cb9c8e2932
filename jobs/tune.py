"""Sweep as a Ray job: ray job submit --working-dir . -- python jobs/tune.py tune_configs/smoke.yaml

The options are those of the command, with photographs --data s3://bucket/train --judge-data s3://bucket/choose.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run `focus-ray tune` with the same options, from the package next to this folder."""
    # First on the path, so that a job runs the uploaded code and not a package installed on the cluster.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from focus_ray import cli

    return cli.main(["tune", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
