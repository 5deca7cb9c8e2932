"""The data sets and the bucket of the tests of data."""

from tests.data.conftest import ar, bucket, celebahq, copied, now
from tests.detection.conftest import folder, mesh_spec

__all__ = ["ar", "bucket", "celebahq", "copied", "folder", "mesh_spec", "now"]
