"""A sweep as a job of a Ray cluster: ray job submit --working-dir . -- python jobs/tune.py tune_configs/smoke.yaml"""

import sys
from pathlib import Path


def main() -> int:
    """What `focus-ray tune` does with the same options, by the package that lies beside this folder."""
    # Before any package that the cluster has installed: a job runs the code that was uploaded with it.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from focus_ray import cli

    return cli.main(["tune", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
