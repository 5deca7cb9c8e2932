"""What a wheel has beside the repository's files: the 3D library of the web page, with its licence."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WITHOUT = "FOCUS_RAY_WITHOUT_VIEWER"


class ViewerHook(BuildHookInterface):
    """Fetches the library before a wheel is built; an editable installation gets it from `make install`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises where the library cannot be had: a wheel without it would have a page that is less than it says.

        Who wants such a wheel says so, by FOCUS_RAY_WITHOUT_VIEWER=1.
        """
        if version == "editable" or os.environ.get(WITHOUT, "0") not in ("", "0"):
            return
        sys.path.insert(0, str(Path(self.root) / "infra"))
        import fetch_viewer

        try:
            fetch_viewer.fetch(Path(self.root) / "focus_ray" / "serving" / "page" / "vendor")
        except fetch_viewer.ViewerError as error:
            raise fetch_viewer.ViewerError(f"{error}; or set {WITHOUT}=1: the page then has no 3D view") from None
        build_data["artifacts"].append("focus_ray/serving/page/vendor/*")
