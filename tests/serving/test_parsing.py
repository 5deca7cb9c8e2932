"""What a request asks for: forms and raw bodies, options in words that the client understands."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.formparsers import MultiPartException

from focus_ray.serving.parsing import parse_batch_request, parse_request
from focus_ray.serving.problems import Problem
from focus_ray.serving.settings import AdmissionSettings

SETTINGS = AdmissionSettings(pictures=3)


def app() -> FastAPI:
    app = FastAPI()

    @app.exception_handler(Problem)
    async def told(request: Request, problem: Problem) -> Response:
        return Response(problem.body("r"), problem.status)

    @app.post("/one")
    async def one(request: Request) -> dict[str, Any]:
        asked = await parse_request(request)
        return {"pictures": [len(picture.content) for picture in asked.images], **asked.options.model_dump()}

    @app.post("/many")
    async def many(request: Request) -> dict[str, Any]:
        asked = await parse_batch_request(request, SETTINGS)
        return {"names": [picture.name for picture in asked.images], **asked.options.model_dump()}

    return app


def post(path: str, **sent) -> tuple[int, dict[str, Any]]:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://here") as client:
            return await client.post(path, **sent)

    answer = asyncio.run(send())
    return answer.status_code, answer.json()


def test_a_form():
    status, said = post(
        "/one", files={"image": b"abc"}, data={"outputs": "mask, glb", "refine": "false", "box": "1,2,3,4"}
    )
    assert status == 200
    assert (said["pictures"], said["outputs"], said["refine"]) == ([3], ["mask", "glb"], False)
    assert said["box"] == [1, 2, 3, 4]
    assert (said["max_faces"], said["prior"], said["delivery"]) == (4, "auto", "inline")
    assert said["texture"] == "photo"


@pytest.mark.parametrize("kind", ["photo", "albedo", "none"])
def test_a_texture(kind: str):
    status, said = post("/one", files={"image": b"x"}, data={"texture": kind})
    assert (status, said["texture"]) == (200, kind)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "application/octet-stream"])
def test_the_picture_as_the_body(kind: str):
    status, said = post("/one?max_faces=2&delivery=link", content=b"abcd", headers={"content-type": kind})
    assert (status, said["pictures"], said["max_faces"], said["delivery"]) == (200, [4], 2, "link")


def test_landmarks():
    numbers = [str(number) for number in range(136)]
    status, said = post("/one", files={"image": b"x"}, data={"landmarks": ",".join(numbers)})
    assert (status, len(said["landmarks"]), said["landmarks"][67]) == (200, 68, [134, 135])
    for wrong in (numbers[:-1], numbers[:-2], [*numbers, "1", "2"]):
        assert post("/one", files={"image": b"x"}, data={"landmarks": ",".join(wrong)})[0] == 422


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output": "mask"}, "there is no option 'output'"),
        ({"outputs": "mesh"}, "outputs"),
        ({"max_faces": "0"}, "max_faces"),
        ({"max_faces": "1e9"}, "max_faces"),
        ({"refine": "perhaps"}, "refine"),
        ({"box": "1,2,3"}, "box"),
        ({"box": "1,2,nan,4"}, "box"),
        ({"box": "1,2,inf,1e999"}, "box"),
        ({"prior": "../../etc"}, "prior"),
        ({"texture": "http://127.0.0.1/"}, "texture"),
        ({"delivery": "http://127.0.0.1/"}, "delivery"),
    ],
)
def test_options_that_are_none(options: dict[str, str], words: str):
    status, said = post("/one", files={"image": b"x"}, data=options)
    assert status == 422
    assert words in said["detail"]


def test_an_option_that_is_said_twice():
    assert post("/one?refine=true", files={"image": b"x"}, data={"refine": "true"})[0] == 200
    status, said = post("/one?refine=true", files={"image": b"x"}, data={"refine": "false"})
    assert (status, "given twice" in said["detail"]) == (422, True)


def test_another_number_of_pictures():
    assert post("/one", files={"other": b"x"})[0] == 422
    assert post("/one", files=[("image", b"x"), ("image", b"y")])[0] == 422
    assert post("/many", files=[("images", b"x")] * 4)[0] == 422
    assert post("/one", data={"refine": "true"}, files={"image": (None, "text")})[0] == 422


def test_several_pictures_keep_their_order_and_harmless_names():
    files = [("images", ("a.jpg", b"1")), ("images", ("../../b\r\nX: y\0.png", b"22")), ("image", ("c" * 200, b"3"))]
    status, said = post("/many", files=files)
    assert status == 200
    assert said["names"][0] == "a.jpg"
    assert all(len(name) <= 80 and name.isprintable() for name in said["names"])


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"image=x", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=a", b"no form at all", 400),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--", 400),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--a", 400),
    ],
)
def test_bodies_that_are_no_form(kind: str, body: bytes, status: int):
    assert post("/one", content=body, headers={"content-type": kind})[0] == status


@pytest.mark.parametrize(
    "sent",
    [
        {"files": [("image", b"x")] * 2},
        {"files": {"image": b"x"}, "data": {"refine": ["true"] * 65}},
        {"files": {"image": b"x"}, "data": {"landmarks": "1," * 9000}},
    ],
)
def test_limits_of_a_form_do_not_depend_on_the_parsers_words(sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MultiPartException, "__init__", lambda self, message: setattr(self, "message", "?"))
    status, said = post("/one", **sent)
    assert (status, said["code"]) == (422, "unprocessable")
    assert said["detail"].startswith(("the form has", "a field of the form"))
