"""Request handlers: one picture or several, files inline or as links."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, runtime_checkable

from focus_ray.serving import outputs
from focus_ray.serving.parsing import ParsedRequest
from focus_ray.serving.problems import Problem
from focus_ray.serving.schema import BatchItem, BatchResponse, Output, ProblemDetails, Reconstruction
from focus_ray.serving.service import ReconstructionService

_RESULTS_PATH = "/v1/results/"


@runtime_checkable
class ResultStore(Protocol):
    """Store of results until their links are followed."""

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str: ...

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None: ...


@runtime_checkable
class AppContext(Protocol):
    """What the routes need from their replica."""

    @property
    def service(self) -> ReconstructionService: ...

    @property
    def results(self) -> ResultStore: ...

    def metrics(self) -> Awaitable[str]: ...


async def reconstruct_one(
    context: AppContext, parsed: ParsedRequest, index: int, request_id: str, owner: str | None
) -> Reconstruction:
    """The answer to one of the pictures. Raises Problem."""
    files = _OutputCollector(as_links=parsed.options.delivery == "link")
    answer = await context.service.reconstruct(parsed.images[index].content, parsed.options, request_id, files.deliver)
    return await files.add_links(answer, context.results, owner)


async def reconstruct_all(
    context: AppContext, parsed: ParsedRequest, request_id: str, owner: str | None
) -> BatchResponse:
    """The answers to all pictures; a problem stands in its picture's place. Raises Problem where no model answers."""

    async def item(index: int) -> BatchItem:
        name = parsed.images[index].name
        try:
            answer = await reconstruct_one(context, parsed, index, request_id, owner)
            return BatchItem(index=index, name=name, reconstruction=answer)
        except Problem as problem:
            document = ProblemDetails.model_validate(problem.document(request_id))
            return BatchItem(index=index, name=name, problem=document)

    card = await context.service.card()
    results = await asyncio.gather(*(item(place) for place in range(len(parsed.images))))
    return BatchResponse(request_id=request_id, model_version=card.version, results=results)


class _OutputCollector:
    """The files of one answer: inline, or kept until their links are known."""

    def __init__(self, as_links: bool) -> None:
        self._as_links = as_links
        self._contents: list[tuple[bytes, str]] = []

    def deliver(self, content: bytes, media_type: str) -> Output:
        """The file inline, or with its number where the link will be."""
        if not self._as_links:
            return outputs.inline_output(content, media_type)
        self._contents.append((content, media_type))
        return Output(media_type=media_type, href=str(len(self._contents) - 1))

    async def add_links(self, answer: Reconstruction, store: ResultStore, owner: str | None) -> Reconstruction:
        """The answer with links in place of numbers."""
        if not self._contents:
            return answer
        names = [await store.put(content, media_type, owner) for content, media_type in self._contents]

        def linked(files: dict[Any, Output]) -> dict[Any, Output]:
            return {
                kind: Output(media_type=one.media_type, href=_RESULTS_PATH + names[int(one.href or 0)])
                for kind, one in files.items()
            }

        faces = [face.model_copy(update={"outputs": linked(face.outputs)}) for face in answer.faces]
        return answer.model_copy(update={"faces": faces, "outputs": linked(answer.outputs)})
