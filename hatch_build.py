"""What a wheel has beside the repository's files: the page's 3D library and the detector's weights, with licences."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WITHOUT_VIEWER = "FOCUS_RAY_WITHOUT_VIEWER"
WITHOUT_DETECTOR = "FOCUS_RAY_WITHOUT_DETECTOR"


class DownloadHook(BuildHookInterface):
    """Downloads both before a wheel is built; an editable installation gets them from `make install`.

    A failed download is an error: the wheel would have less than it says. FOCUS_RAY_WITHOUT_VIEWER=1 and
    FOCUS_RAY_WITHOUT_DETECTOR=1 build a wheel without the one or the other.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add both to the files of the wheel.

        Raises:
            ViewerError: the library cannot be downloaded.
            DetectorError: the weights cannot be downloaded.
        """
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "infra"))
        if not _is_set(WITHOUT_VIEWER):
            import fetch_viewer

            try:
                fetch_viewer.fetch(Path(self.root) / "focus_ray" / "serving" / "page" / "vendor")
            except fetch_viewer.ViewerError as error:
                message = f"{error}; or set {WITHOUT_VIEWER}=1: the page then has no 3D view"
                raise fetch_viewer.ViewerError(message) from None
            build_data["artifacts"].append("focus_ray/serving/page/vendor/*")
        if not _is_set(WITHOUT_DETECTOR):
            import fetch_detectors

            try:
                fetch_detectors.fetch(Path(self.root) / "focus_ray" / "data" / "detectors" / "weights")
            except fetch_detectors.DetectorError as error:
                message = f"{error}; or set {WITHOUT_DETECTOR}=1: OpenCV's cascades then detect faces"
                raise fetch_detectors.DetectorError(message) from None
            build_data["artifacts"].append("focus_ray/data/detectors/weights/*")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")
