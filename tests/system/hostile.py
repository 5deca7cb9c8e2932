"""Requests of people who mean harm, as bytes for the wire: the same list for tests in this process and for drills."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

PATH, BATCH_PATH = "/v1/reconstructions", "/v1/reconstructions:batch"
REFUSED = frozenset({400, 401, 404, 405, 408, 413, 414, 415, 422, 429, 431, 503})
ANY_STATUS = REFUSED | {200}  # a mutated picture may still be one
_BOUNDARY = "b0undary"


@dataclass(frozen=True)
class RequestCase:
    """A request, and the statuses that may answer it; its body in pieces, chunked where there are several."""

    name: str
    method: str = "POST"
    path: str = PATH
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    allowed: frozenset[int] = REFUSED
    raw: bytes | None = field(default=None, repr=False)  # the whole request, where it is no HTTP that a client can say

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def cases(seed: int = 0) -> list[RequestCase]:
    """All of them, the same ones for a seed: 2,000 and more."""
    rng = np.random.default_rng(seed)
    makers = (
        mutated_images,
        truncated_images,
        polyglots,
        decompression_bombs,
        malformed_forms,
        invalid_options,
        json_bodies,
        path_traversals,
        invalid_headers,
        other_methods,
        raw_requests,
    )
    return [case for maker in makers for case in maker(rng)]


def encode_image(kind: str = "JPEG", size: tuple[int, int] = (48, 64), **how: Any) -> bytes:
    """A small picture."""
    content = io.BytesIO()
    pixels = np.linspace(0, 255, size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8)
    Image.fromarray(pixels).save(content, kind, **how)
    return content.getvalue()


def image_request(
    name: str, content: bytes, kind: str = "image/jpeg", allowed: frozenset[int] = ANY_STATUS
) -> RequestCase:
    return RequestCase(name, headers=(("Content-Type", kind),), pieces=(content,), allowed=allowed)


def form_request(
    name: str, parts: list[tuple[str, bytes]], path: str = PATH, allowed: frozenset[int] = REFUSED
) -> RequestCase:
    body = b"".join(f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    kind = ("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
    return RequestCase(
        name, path=path, headers=(kind,), pieces=(body + f"--{_BOUNDARY}--\r\n".encode(),), allowed=allowed
    )


def file_part(content: bytes, field: str = "image", name: str = "a.jpg") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"', content


def text_part(field: str, text: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{field}"', text.encode()


def mutated_images(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Flipped bits, overwritten runs, bytes taken out and put in."""
    whole = {kind: encode_image(kind) for kind in ("JPEG", "PNG", "WEBP")} | {
        "MPO": encode_image("JPEG", progressive=True)
    }
    for number in range(1000):
        kind = list(whole)[number % len(whole)]
        content = bytearray(whole[kind])
        for _ in range(int(rng.integers(1, 12))):
            at, length = int(rng.integers(len(content))), int(rng.integers(1, 9))
            match int(rng.integers(4)):
                case 0:
                    content[at] ^= 1 << int(rng.integers(8))
                case 1:
                    content[at : at + length] = rng.bytes(length)
                case 2:
                    del content[at : at + length]
                case _:
                    content[at:at] = rng.bytes(length)
        yield image_request(f"mutated {kind} {number}", bytes(content))


def truncated_images(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Pictures that end too early; some in chunks."""
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = encode_image(kind)
        for number in range(100):
            content = whole[: int(rng.integers(1, len(whole)))]
            pieces = (content,) if number % 4 else (content[:7], content[7:])
            yield replace(image_request(f"{kind} cut off {number}", content), pieces=pieces)


def polyglots(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Other kinds under a picture's name, and a picture with something else in it."""
    others = {kind: encode_image(kind) for kind in ("GIF", "TIFF", "BMP", "PPM", "PDF", "EPS", "ICO", "JPEG2000")}
    others |= {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "html": b"<html><script>alert(1)</script>",
        "fits": b"SIMPLE  =                    T" + b" " * 2850,
        "psd": b"8BPS\0\1" + bytes(20),
        "zip": b"PK\3\4" + bytes(100),
        "pickle": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "elf": b"\x7fELF" + bytes(64),
        "wave": b"RIFF\x24\0\0\0WAVEfmt ",
        "empty": b"",
        "newline": b"\n",
    }
    for name, content in others.items():
        for kind in ("image/jpeg", "image/png", "application/octet-stream"):
            yield image_request(f"{name} as {kind}", content, kind, REFUSED)
    for kind in ("JPEG", "PNG", "WEBP"):
        for name, content in others.items():
            yield image_request(f"{kind} with {name} behind", encode_image(kind) + content)


def decompression_bombs(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Little on the wire, much in memory or time."""
    for width, height in ((30_000, 30_000), (2**31 - 1, 2**31 - 1), (60_000, 1), (1, 60_000), (0, 9), (20_000, 20_000)):
        yield image_request(f"png of {width} x {height}", make_png(width, height, bytes(3000)), "image/png", REFUSED)
    for kind in (b"zTXt", b"iCCP"):
        text = png_chunk(kind, b"x\0\0" + zlib.compress(bytes(64 << 20), 9))
        yield image_request(f"png with {kind.decode()} of 64 MiB", make_png(4, 4, bytes(20), text), "image/png")
    text = png_chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(64 << 20), 9))
    yield image_request("png with iTXt of 64 MiB", make_png(4, 4, bytes(20), text), "image/png")
    yield image_request("png with rows of 64 MiB", make_png(4, 4, bytes(64 << 20)), "image/png")
    progressive = encode_image("JPEG", progressive=True)
    start, end = progressive.rindex(b"\xff\xda"), progressive.rindex(b"\xff\xd9")
    for scans in (90, 200, 2000):
        many = progressive[:end] + progressive[start:end] * scans + progressive[end:]
        yield image_request(f"jpeg of {scans} scans", many)
    for marker in range(0xC0, 0x100):
        huge = encode_image("JPEG")[:2] + bytes([0xFF, marker]) + b"\xff\xff" + bytes(65533) + encode_image("JPEG")[2:]
        yield image_request(f"jpeg with a long segment {marker:02x}", huge)
    for parts in (b"\xff\xfe\0\2", b"\xff\xe5\0\2", b"x", b"\xff"):
        many = progressive[:2] + parts * (11_000_000 // len(parts)) + progressive[2:]
        yield image_request(f"jpeg after many of {parts.hex()}", many, allowed=REFUSED)
    whole = encode_image("PNG")
    many = whole[:33] + png_chunk(b"tEXt", b"a\0") * 700_000 + whole[33:]
    yield image_request("png of 700,000 texts", many, "image/png", REFUSED)
    for width in (1, 16_383):
        header = b"VP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", width - 1)[:3] * 2
        yield image_request(f"webp canvas of {width}", b"RIFF" + struct.pack("<I", 22) + b"WEBP" + header, "image/webp")


def malformed_forms(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Forms that are none, too many, or not as they say."""
    good = encode_image()
    yield form_request("no part", [])
    yield form_request("2,000 fields", [text_part("refine", "true")] * 2000 + [file_part(good)])
    yield form_request("200 files", [file_part(good, "images")] * 200, BATCH_PATH)
    yield form_request("another field", [file_part(good, "file")])
    yield form_request("text in place of a picture", [text_part("image", "x" * 100)])
    yield form_request("a long option", [file_part(good), text_part("outputs", "mask," * 20_000)])
    for name in ("../../../etc/passwd", "a\0b", "x" * 5000, "%2e%2e/%2e%2e", 'a"; b="', "\u202egpj.exe", "CON"):
        yield form_request(f"a file called {name[:20]!r}", [file_part(good[:200], "image", name)], allowed=ANY_STATUS)
    kinds = ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 9000)
    kinds += ("multipart/mixed; boundary=a", "multipart/form-data; charset=nonsense; boundary=a", "text/plain", "a/b/c")
    for kind in kinds:
        yield image_request(
            f"a form as {kind[:40]}", b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--", kind, REFUSED
        )
    whole = form_request("", [file_part(good), text_part("outputs", "mask")]).body
    for number in range(120):
        body = bytearray(whole[: int(rng.integers(1, len(whole)))])
        body[int(rng.integers(len(body)))] ^= 1 << int(rng.integers(8))
        kind = ("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
        yield RequestCase(f"a form cut off {number}", headers=(kind,), pieces=(bytes(body),), allowed=ANY_STATUS)
    inner = form_request("", [file_part(good)]).body
    yield form_request("a form in a form", [file_part(inner)])


def invalid_options(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Values that no option has."""
    texts = [
        "",
        "NaN",
        "1e309",
        "-1",
        "0",
        "9" * 400,
        "[]",
        "{}",
        "null",
        "true,false",
        "\u0661",
        "1;2",
        "'",
        "../x",
        "\0",
    ]
    texts += ["mask," * 500, "http://127.0.0.1:1/", "file:///etc/passwd", "1,2,nan,4", "1,2,3,4,5", "0x10", " "]
    good = encode_image()
    for name in ("outputs", "delivery", "prior", "max_faces", "box", "landmarks", "aligned"):
        for text in texts:
            yield form_request(
                f"{name}={text[:20]!r}", [file_part(good[:300]), text_part(name, text)], allowed=ANY_STATUS
            )
    for name in ("model", "url", "image_url", "__proto__", "self", "constructor", "path"):
        yield form_request(f"an option {name}", [file_part(good), text_part(name, "http://127.0.0.1/")])


def json_bodies(rng: np.random.Generator) -> Iterator[RequestCase]:
    """JSON where none is taken."""
    for content in (b"{}", b"[" * 100_000, b'{"a":' * 50_000, json.dumps({"image": "x" * 1_000_000}).encode()):
        yield image_request(f"json of {len(content)}", content, "application/json", REFUSED)


def path_traversals(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Ways out of the folder."""
    tricks = ("..", "%2e%2e", "..%2f", "....//", "%00", "%ff", "%c0%ae%c0%ae", "\\..", ";", "%25%32%65")
    for start in ("/", "/assets/", "/v1/", "/v1/results/", "/v1/reconstructions/"):
        for trick in tricks:
            for end in ("/etc/passwd", "/keys.txt", ""):
                path = f"{start}{trick}{end}"
                yield RequestCase(f"GET {path}", "GET", path, allowed=ANY_STATUS)
    yield RequestCase("a very long path", "GET", "/" + "a" * 7000)
    yield RequestCase("a very long result", "GET", "/v1/results/" + "a" * 3000)


def invalid_headers(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Headers that lie or go on for ever."""
    good = encode_image()[:300]
    tricks = [
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "br"),
        ("Expect", "100-continue"),
        ("X-Request-ID", "x" * 3000),
        ("X-Request-ID", "../../x"),
        ("Authorization", "Bearer " + "x" * 3000),
        ("Authorization", "Negotiate x"),
        ("Host", "169.254.169.254"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "example.org"),
        ("X-Original-URL", "/metrics"),
        ("Origin", "http://example.org"),
        ("Range", "bytes=0-" + ",0-" * 500),
        ("Cookie", "a=b; " * 500),
        ("serve_multiplexed_model_id", "../../x"),
        ("x-request-timeout-seconds", "1e-9"),
        ("x-request-timeout-seconds", "0"),
        ("x-request-timeout-seconds", "\xff"),
        ("x-request-disconnect-disabled", "?1"),
        ("x-request-disconnect-disabled", "\xff"),
        ("serve-multiplexed-model-id", "\xff"),
        ("x-session-id", "\xff"),
        ("x-session_id", "\xff"),
        ("RAY-SERVE-REQUEST-ID", "x"),
    ]
    for name, value in tricks:
        pairs = (("Content-Type", "image/jpeg"), (name, value))
        yield RequestCase(f"{name}: {value[:20]}", headers=pairs, pieces=(good,), allowed=ANY_STATUS)
    for method, size in (("GET", 1), ("GET", 1 << 20), ("DELETE", 1), ("OPTIONS", 1)):
        yield RequestCase(f"{method} with {size} bytes", method, "/healthz", pieces=(bytes(size),))
    for count in (20, 60):
        more = tuple((f"X-H{number}", "v" * 500) for number in range(count))
        yield RequestCase(
            f"{count} headers", headers=(("Content-Type", "image/jpeg"), *more), pieces=(good,), allowed=ANY_STATUS
        )


def other_methods(rng: np.random.Generator) -> Iterator[RequestCase]:
    """Other verbs."""
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD"):
        for path in (PATH, BATCH_PATH, "/v1/model", "/", "/metrics", "/healthz"):
            yield RequestCase(f"{method} {path}", method, path, allowed=ANY_STATUS)


def raw_requests(rng: np.random.Generator) -> Iterator[RequestCase]:
    """What no HTTP client sends."""
    host = "Host: x\r\n"
    kind = "Content-Type: image/jpeg\r\n"
    lines = {
        "two lengths": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        "length and chunks": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Content-Length: 3\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "a negative length": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Content-Length: -5\r\n\r\n",
        "a huge length": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Content-Length: 99999999999999999999\r\n\r\n",
        "a wrong chunk size": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "a huge chunk size": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Transfer-Encoding: chunked\r\n\r\n{'f' * 15}\r\nx",
        "no host": f"GET {PATH} HTTP/1.1\r\n\r\n",
        "another protocol": "GET / HTTP/9.9\r\n\r\n",
        "no http": "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        "nothing but lines": "\r\n" * 2000,
        "a header without a name": f"GET / HTTP/1.1\r\n{host}: x\r\n\r\n",
        "a folded header": f"GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n",
        "a very long header": f"GET / HTTP/1.1\r\n{host}A: {'b' * 200_000}\r\n\r\n",
        "a body that is less than it says": f"POST {PATH} HTTP/1.1\r\n{host}{kind}Content-Length: 9\r\n\r\nabc",
    }
    harmless = ("another protocol", "a folded header")  # odd, but what they ask for is plain
    for name, text in lines.items():
        yield RequestCase(name, raw=text.encode("latin-1"), allowed=ANY_STATUS if name in harmless else REFUSED)
    for number in range(150):
        noise = rng.bytes(int(rng.integers(1, 400)))
        yield RequestCase(f"noise {number}", raw=noise + b"\r\n\r\n")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, rows: bytes = b"", *more: bytes) -> bytes:
    """A PNG that says whatever it wants."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
