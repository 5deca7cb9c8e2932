"""What a wheel has beside the repository's files: the 3D library of the web page, with its licence."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ViewerHook(BuildHookInterface):
    """Fetches the library before a wheel is built; an editable installation gets it from `make install`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises where the library cannot be had: a wheel without it would have a page that is less than it says."""
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "infra"))
        import fetch_viewer

        fetch_viewer.fetch(Path(self.root) / "focus_ray" / "serving" / "page" / "vendor")
        build_data["artifacts"].append("focus_ray/serving/page/vendor/*")
