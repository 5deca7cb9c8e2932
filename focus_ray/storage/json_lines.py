"""Append-only file of JSON lines; tolerates the incomplete last line of a killed process."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from focus_ray.errors import StorageError
from focus_ray.storage import atomic


class JsonLinesFile:
    """File of one JSON object per line, opened when the first line is appended."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._stream: TextIO | None = None

    def append(self, line: dict[str, Any]) -> None:
        """Append one line, visible to readers at once.

        Raises:
            StorageError: the file cannot be written to.
        """
        try:
            if self._stream is None:
                self._stream = self._open()
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror}; free some space") from error

    def _open(self) -> TextIO:
        """Open the file for appending and cut off an incomplete last line, which would make the next one unreadable."""
        stream = self.path.open("a", buffering=1)
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)
        return stream

    def rewrite(self, lines: Iterable[dict[str, Any]]) -> None:
        """Replace all lines, atomically.

        Raises:
            StorageError: the file cannot be written; it is unchanged.
        """
        self.close()
        atomic.write_file(self.path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON lines file up to the first invalid line; an absent file has none."""
    lines = []
    for content in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            line = json.loads(content.decode())
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
    return lines
