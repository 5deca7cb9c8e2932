"""Request handlers for one picture or several, with outputs inline or as links."""

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
    """Store of outputs that are requested as links."""

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str: ...

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None: ...


@runtime_checkable
class AppContext(Protocol):
    """Service, result store and metrics of a replica, for the routes."""

    @property
    def service(self) -> ReconstructionService: ...

    @property
    def results(self) -> ResultStore: ...

    def metrics(self) -> Awaitable[str]: ...


async def reconstruct_one(
    context: AppContext, parsed: ParsedRequest, index: int, request_id: str, owner: str | None
) -> Reconstruction:
    """Reconstruct one picture of a request.

    Args:
        context: service and result store.
        parsed: the request.
        index: of the picture.
        request_id: id of the request.
        owner: name of the client's key; None without keys.

    Raises:
        Problem: the picture is refused, or the model is not available.
    """
    files = _OutputCollector(as_links=parsed.options.delivery == "link")
    answer = await context.service.reconstruct(parsed.images[index].content, parsed.options, request_id, files.deliver)
    return await files.add_links(answer, context.results, owner)


async def reconstruct_all(
    context: AppContext, parsed: ParsedRequest, request_id: str, owner: str | None
) -> BatchResponse:
    """Reconstruct all pictures of a request.

    Args:
        context: service and result store.
        parsed: the request.
        request_id: id of the request.
        owner: name of the client's key; None without keys.

    Returns:
        One item for each picture, in order; the item of a refused picture has its problem.

    Raises:
        Problem: the model is not available.
    """

    async def item(index: int) -> BatchItem:
        name = parsed.images[index].name
        try:
            answer = await reconstruct_one(context, parsed, index, request_id, owner)
            return BatchItem(index=index, name=name, reconstruction=answer)
        except Problem as problem:
            document = ProblemDetails.model_validate(problem.document(request_id))
            return BatchItem(index=index, name=name, problem=document)

    info = await context.service.model_info()
    results = await asyncio.gather(*(item(place) for place in range(len(parsed.images))))
    return BatchResponse(request_id=request_id, model_version=info.version, results=results)


class _OutputCollector:
    """Collects the outputs of one response: encodes them inline, or keeps them until they are stored as links."""

    def __init__(self, as_links: bool) -> None:
        self._as_links = as_links
        self._contents: list[tuple[bytes, str]] = []

    def deliver(self, content: bytes, media_type: str) -> Output:
        """Return the output inline, or with its index as a placeholder for the link."""
        if not self._as_links:
            return outputs.inline_output(content, media_type)
        self._contents.append((content, media_type))
        return Output(media_type=media_type, href=str(len(self._contents) - 1))

    async def add_links(self, answer: Reconstruction, store: ResultStore, owner: str | None) -> Reconstruction:
        """Store the outputs and replace the placeholders by links."""
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
