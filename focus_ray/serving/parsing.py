"""Parses a request: pictures and options, from a form or from a body that is the picture itself.

Everything stays in memory: uploads are never written to disk.
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
_MAX_OPTION_BYTES = 16_384  # enough for 136 numbers (68 landmarks)
_MAX_FIELDS = 64
_MAX_NAME_LENGTH = 80  # characters of a file name in the response
_RAW = ("image/", "application/octet-stream")


class UploadedImage(NamedTuple):
    """The bytes of a picture, and its file name, which is used only in the response."""

    name: str
    content: bytes


class ParsedRequest(NamedTuple):
    """Pictures and options of a request."""

    images: list[UploadedImage]
    options: Options


class _InMemoryParser(MultiPartParser):
    """Starlette's parser without files on disk (admission limits the body); records whether the form is complete.

    It checks the limits itself and raises Problem, because Starlette's errors differ in their text only.
    """

    spool_max_size = 1 << 40  # bytes; never write a file to disk
    is_complete = False

    def __init__(self, request: Request, max_files: int) -> None:
        super().__init__(
            request.headers, request.stream(), max_files=math.inf, max_fields=math.inf, max_part_size=sys.maxsize
        )
        self._files_left = max_files
        self._fields_left = _MAX_FIELDS

    def on_headers_finished(self) -> None:
        """Count a new part.

        Raises:
            Problem: too many files or fields.
        """
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
        """Append some bytes to the current part; the arguments are those of Starlette.

        Raises:
            Problem: a field is too long.
        """
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _MAX_OPTION_BYTES:
            raise Problem("unprocessable", f"a field of the form is longer than {_MAX_OPTION_BYTES} bytes; shorten it")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        """Record that the last boundary arrived."""
        self.is_complete = True

    def close(self) -> None:
        """Close all files, including those of incomplete parts."""
        for file in self._files_to_close_on_error:
            file.close()


async def parse_request(request: Request) -> ParsedRequest:
    """Parse a request with one picture, as field `image` or as the body.

    Raises:
        Problem: the form or an option is not valid, or the form does not have exactly one picture.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(_RAW):
        content = await request.body()
        return ParsedRequest([UploadedImage("body", content)], _parse_options(request.query_params.multi_items()))
    parsed = await _parse_form(request, kind, ("image",), 1)
    if len(parsed.images) != 1:
        raise Problem("unprocessable", f"the form has {len(parsed.images)} pictures; send one, as field `image`")
    return parsed


async def parse_batch_request(request: Request, settings: AdmissionSettings) -> ParsedRequest:
    """Parse a request with several pictures, as fields `images`.

    Args:
        request: the request.
        settings: limit of pictures.

    Raises:
        Problem: the form or an option is not valid, or the form has no picture or too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    parsed = await _parse_form(request, kind, ("images", "image"), settings.pictures)
    if not parsed.images:
        raise Problem("unprocessable", "the form has no picture; send each picture as a field `images`")
    return parsed


async def _parse_form(request: Request, kind: str, names: Sequence[str], most: int) -> ParsedRequest:
    if kind != "multipart/form-data":
        raise Problem(
            "unsupported_media", f"send multipart/form-data with the field `{names[0]}`, or a picture as image/jpeg"
        )
    parser = _InMemoryParser(request, most)
    try:
        form = await parser.parse()
        if not parser.is_complete:
            raise Problem("bad_request", "the form is truncated; send it completely")
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
            raise Problem("unprocessable", f"there is no file field {printable(name[:40])!r}; use `{names[0]}`")
    return ParsedRequest(pictures, _parse_options(options))


async def _read_upload(upload: UploadFile) -> UploadedImage:
    return UploadedImage(printable((upload.filename or "")[:_MAX_NAME_LENGTH]), await upload.read())


def _parse_options(fields: Iterable[tuple[str, str]]) -> Options:
    """Parse options. Raises Problem for an unknown one, an invalid value, or two values of one option."""
    values: dict[str, str] = {}
    for name, text in fields:
        if name not in Options.model_fields:
            known = ", ".join(Options.model_fields)
            raise Problem("unprocessable", f"there is no option {printable(name[:40])!r}; use one of {known}")
        if values.setdefault(name, text) != text:
            raise Problem("unprocessable", f"option {name} is given twice with different values; give it once")
    try:
        return Options.model_validate({name: _parse_value(name, text) for name, text in values.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = first["loc"][0] if first["loc"] else "options"
        raise Problem("unprocessable", f"the option {where} is not valid: {first['msg']}") from None


def _parse_value(name: str, text: str) -> Any:
    """Convert the text of an option to the input of its type: comma-separated lists to lists."""
    if name not in _LIST_OPTIONS:
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if name != "landmarks":
        return parts
    return list(zip(parts[::2], parts[1::2], strict=False)) if len(parts) % 2 == 0 else parts
