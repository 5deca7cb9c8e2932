"""Parses a request: pictures and options, from a form or from a body that is the picture itself.

Everything stays in memory: what people send is never written to a disk.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from focus_ray.errors import printable
from focus_ray.serving.problems import Problem
from focus_ray.serving.schema import Options
from focus_ray.serving.settings import AdmissionSettings

_LIST_OPTIONS = {"outputs", "box", "landmarks"}
_MAX_OPTION_BYTES = 16_384  # bytes: 136 numbers of any length
_MAX_FIELDS = 64
_MAX_NAME_LENGTH = 80  # characters of a file's name that are shown again
_RAW = ("image/", "application/octet-stream")


class UploadedImage(NamedTuple):
    """The bytes of a picture, and what its file was called, to be shown again and for nothing else."""

    name: str
    content: bytes


class ParsedRequest(NamedTuple):
    """A request."""

    images: list[UploadedImage]
    options: Options


class _InMemoryParser(MultiPartParser):
    """Starlette's parser without files on disk (the body is bounded already); knows whether the form was complete.

    It counts parts and bytes itself and raises Problem: Starlette tells its limits apart by words only.
    """

    spool_max_size = 1 << 40
    is_complete = False

    def __init__(self, request: Request, max_files: int) -> None:
        super().__init__(
            request.headers, request.stream(), max_files=math.inf, max_fields=math.inf, max_part_size=sys.maxsize
        )
        self._files_left = max_files
        self._fields_left = _MAX_FIELDS

    def on_headers_finished(self) -> None:
        """A part begins."""
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._files_left -= 1
        else:
            self._fields_left -= 1
        if self._files_left < 0:
            raise Problem("unprocessable", "the form has too many files; send fewer pictures")
        if self._fields_left < 0:
            raise Problem("unprocessable", f"the form has more than {_MAX_FIELDS} fields; send each option once")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Some bytes of a part."""
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _MAX_OPTION_BYTES:
            raise Problem("unprocessable", f"a field of the form is longer than {_MAX_OPTION_BYTES} bytes; shorten it")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        """The last boundary has come."""
        self.is_complete = True

    def close(self) -> None:
        """Let go of what was sent, of parts too that never ended."""
        for file in self._files_to_close_on_error:
            file.close()


async def parse_request(request: Request) -> ParsedRequest:
    """One picture, as field `image` or as the body, and options. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(_RAW):
        content = await request.body()
        return ParsedRequest([UploadedImage("body", content)], _parse_options(request.query_params.multi_items()))
    asked = await _parse_form(request, kind, ("image",), 1)
    if len(asked.images) != 1:
        raise Problem("unprocessable", f"{len(asked.images)} pictures in the form; send one, as field `image`")
    return asked


async def parse_batch_request(request: Request, settings: AdmissionSettings) -> ParsedRequest:
    """Pictures, as fields `images`, and options. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    asked = await _parse_form(request, kind, ("images", "image"), settings.pictures)
    if not asked.images:
        raise Problem("unprocessable", "no picture in the form; send some, each as a field `images`")
    return asked


async def _parse_form(request: Request, kind: str, names: Sequence[str], most: int) -> ParsedRequest:
    if kind != "multipart/form-data":
        raise Problem(
            "unsupported_media", f"send multipart/form-data with the field `{names[0]}`, or a picture as image/jpeg"
        )
    parser = _InMemoryParser(request, most)
    try:
        form = await parser.parse()
        if not parser.is_complete:
            raise Problem("bad_request", "the form is cut off; send it whole")
        return await _read_fields(form, list(request.query_params.multi_items()), names)
    except MultiPartException as error:
        raise Problem("bad_request", f"the form cannot be read: {printable(error.message[:200])}") from None
    except (ValueError, LookupError, UnicodeError):
        raise Problem("bad_request", "the form cannot be read; send multipart/form-data as browsers do") from None
    finally:
        parser.close()


async def _read_fields(form: FormData, options: list[tuple[str, str]], names: Sequence[str]) -> ParsedRequest:
    pictures = []
    for name, value in form.multi_items():
        if isinstance(value, str):
            options.append((name, value))
        elif name in names:
            pictures.append(await _read_upload(value))
        else:
            raise Problem("unprocessable", f"there is no file field {printable(name[:40])!r}; it is `{names[0]}`")
    return ParsedRequest(pictures, _parse_options(options))


async def _read_upload(upload: UploadFile) -> UploadedImage:
    return UploadedImage(printable((upload.filename or "")[:_MAX_NAME_LENGTH]), await upload.read())


def _parse_options(fields: Iterable[tuple[str, str]]) -> Options:
    """Options as text. Raises Problem for one that is unknown, said twice in two ways, or has no such value."""
    said: dict[str, str] = {}
    for name, text in fields:
        if name not in Options.model_fields:
            known = ", ".join(Options.model_fields)
            raise Problem("unprocessable", f"there is no option {printable(name[:40])!r}; there are {known}")
        if said.setdefault(name, text) != text:
            raise Problem("unprocessable", f"option {name} is given twice with different values; give it once")
    try:
        return Options.model_validate({name: _parse_value(name, text) for name, text in said.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = first["loc"][0] if first["loc"] else "options"
        raise Problem("unprocessable", f"the option {where}: {first['msg']}") from None


def _parse_value(name: str, text: str) -> Any:
    """What an option's text stands for, as its type takes it."""
    if name not in _LIST_OPTIONS:
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if name != "landmarks":
        return parts
    return list(zip(parts[::2], parts[1::2], strict=False)) if len(parts) % 2 == 0 else parts
