"""The other deployments as an ingress sees them: asked again, told in our words, and one version at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import DeploymentUnavailableError

from focus_ray.focus.camera import Camera
from focus_ray.serving.fitting import RenderContext
from focus_ray.serving.problems import Problem
from focus_ray.serving.remote_replicas import RemoteModel, RemoteResultStore
from focus_ray.serving.settings import ServingSettings

SETTINGS = ServingSettings(links_megabytes=0.001)


class Handle:
    """A deployment's handle: each call takes the next of what it is told to answer or raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __getattr__(self, method: str) -> "Method":
        return Method(self, method)


class Method:
    def __init__(self, handle: Handle, name: str) -> None:
        self.handle, self.name = handle, name

    async def remote(self, *arguments: Any) -> Any:
        self.handle.asked.append(self.name)
        answer = self.handle.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def render_context(version: str, face_model: Any) -> RenderContext:
    return RenderContext(version, face_model, Camera())


def test_a_replica_that_died_costs_no_answer():
    handle = Handle(ActorDiedError(), "model_info")
    assert asyncio.run(RemoteModel(handle, SETTINGS).model_info()) == "model_info"


def test_nobody_to_ask_is_told_with_a_time():
    with pytest.raises(Problem) as refused:
        asyncio.run(RemoteModel(Handle(DeploymentUnavailableError(None)), SETTINGS).model_info())
    assert (refused.value.code, refused.value.reason, refused.value.retry_after) == ("overloaded", "model_queue", 1)


def test_faces_are_drawn_with_the_model_that_fitted_them(small_face):
    old, new = render_context("old", small_face), render_context("new", small_face)

    async def scene() -> None:
        handle = Handle(old, old, new)
        replicas = RemoteModel(handle, SETTINGS)
        assert await replicas.render_context("new") is new
        assert await replicas.render_context("new") is new
        assert handle.answers == []
        with pytest.raises(Problem) as refused:
            await RemoteModel(Handle(*[old] * 20), SETTINGS).render_context("new")
        assert refused.value.code == "overloaded"

    asyncio.run(scene())


@pytest.mark.parametrize("ask", [lambda links: links.put(b"x", "image/png", None), lambda links: links.get("x", None)])
def test_links_whose_keeper_is_gone(ask: Callable[[RemoteResultStore], Any]):
    for error in (ActorDiedError(), DeploymentUnavailableError(None)):
        with pytest.raises(Problem) as refused:
            asyncio.run(ask(RemoteResultStore(Handle(error), SETTINGS)))
        assert (refused.value.code, refused.value.reason, refused.value.retry_after) == ("overloaded", "links", 1)


def test_what_is_too_large_for_links_is_refused_before_it_is_sent():
    handle = Handle("name")
    with pytest.raises(Problem) as refused:
        asyncio.run(RemoteResultStore(handle, SETTINGS).put(b"x" * 1001, "image/png", None))
    assert (refused.value.code, handle.asked) == ("unprocessable", [])
    assert asyncio.run(RemoteResultStore(handle, SETTINGS).put(b"x" * 1000, "image/png", None)) == "name"
