"""HTTP interface as a FastAPI application: routes, and problem responses for errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from focus_ray import __version__
from focus_ray.data.detectors.detection import DetectorInfo
from focus_ray.serving import examples, page_routes
from focus_ray.serving.admission import FACES_HEADER, REASON_HEADER
from focus_ray.serving.fitting import ModelInfo
from focus_ray.serving.handlers import AppContext, reconstruct_all, reconstruct_one
from focus_ray.serving.parsing import ParsedRequest, parse_batch_request, parse_request
from focus_ray.serving.problems import MEDIA_TYPE, TITLES, Problem
from focus_ray.serving.schema import OUTPUTS, BatchResponse, ModelResponse, ProblemDetails, Reconstruction
from focus_ray.serving.settings import ServingSettings

REQUEST_ID_HEADER = "x-request-id"
_CODES_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


def create_app(context: AppContext, settings: ServingSettings) -> FastAPI:
    """Create the FastAPI application with all routes.

    Args:
        context: service, result store and metrics of the replica.
        settings: of the endpoint; admission middleware must have applied its limits already.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.service.close()

    app = FastAPI(
        title="focus-ray",
        version=__version__,
        summary="Occlusion-robust 3D face reconstruction",
        description="HEAD works wherever GET does, without the body. A 405 response lists the methods in `Allow`.",
        docs_url=None,  # the documentation pages load scripts from other hosts
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(_HeadAsGet)
    app.include_router(page_routes.router())
    app.include_router(_service_router(context))
    app.include_router(_reconstruction_router(context, settings))
    app.add_exception_handler(Problem, _problem_handler)
    app.add_exception_handler(HTTPException, _http_exception_handler)
    app.add_exception_handler(RequestValidationError, _validation_error_handler)
    app.add_exception_handler(Exception, _internal_error_handler)
    return app


class _HeadAsGet:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, context: Asgi, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if context["type"] != "http" or context["method"] != "HEAD":
            await self._app(context, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**context, "method": "GET"}, receive, send_without_body)


def _service_router(context: AppContext) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/healthz", response_class=PlainTextResponse, summary="Liveness of this process")
    async def healthz() -> str:
        return "ok"

    @router.get(
        "/readyz", response_class=PlainTextResponse, summary="Readiness of the model", responses=_problem_responses(503)
    )
    async def readyz() -> str:
        await context.service.model_info()
        return "ready"

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        summary="Metrics for Prometheus",
        responses=_problem_responses(401),
    )
    async def metrics() -> Response:
        return PlainTextResponse(await context.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _reconstruction_router(context: AppContext, settings: ServingSettings) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["reconstruction"])

    async def parse_single(request: Request) -> ParsedRequest:
        return await parse_request(request)

    async def pictures(request: Request) -> ParsedRequest:
        return await parse_batch_request(request, settings.admission)

    @router.post(
        "/reconstructions",
        summary="Reconstruct the faces of one picture",
        response_model_exclude_none=True,
        openapi_extra=examples.SINGLE_REQUEST,
        responses=_problem_responses(400, 401, 408, 413, 415, 422, 429, 503) | examples.ANSWER,
    )
    async def reconstruct(
        request: Request, response: Response, parsed: Annotated[ParsedRequest, Depends(parse_single)]
    ) -> Reconstruction:
        """`faces` is empty if no face is found. Nothing is stored except outputs that are requested as links."""
        answer = await reconstruct_one(context, parsed, 0, request_id_of(request), owner_of(request))
        response.headers[FACES_HEADER] = str(len(answer.faces))
        return answer

    @router.post(
        "/reconstructions:batch",
        summary="Reconstruct the faces of several pictures",
        response_model_exclude_none=True,
        openapi_extra=examples.BATCH_REQUEST,
        responses=_problem_responses(400, 401, 408, 413, 415, 422, 429, 503),
    )
    async def reconstruct_batch(
        request: Request, response: Response, parsed: Annotated[ParsedRequest, Depends(pictures)]
    ) -> BatchResponse:
        """A refused picture does not affect the others: its item has a `problem` instead of a `reconstruction`."""
        answer = await reconstruct_all(context, parsed, request_id_of(request), owner_of(request))
        found = [item.reconstruction.faces for item in answer.results if item.reconstruction]
        response.headers[FACES_HEADER] = str(sum(map(len, found)))
        return answer

    @router.get("/model", summary="The model and its limits", responses=_problem_responses(401, 503))
    async def model() -> ModelResponse:
        service = context.service
        return _model_response(await service.model_info(), service.detector.info, settings)

    @router.get(
        "/results/{name}",
        summary="A file that was requested as a link",
        response_class=Response,
        responses=_problem_responses(401, 404),
    )
    async def result(request: Request, name: Annotated[str, Path(max_length=64)]) -> Response:
        found = await context.results.get(name, owner_of(request))
        if found is None:
            raise Problem("not_found", "there is no such result, or it has expired; send the request again")
        return Response(found[0], media_type=found[1])

    return router


def _model_response(info: ModelInfo, detector: DetectorInfo, settings: ServingSettings) -> ModelResponse:
    limits = settings.admission
    return ModelResponse(
        model_version=info.version,
        registered=info.registered,
        image_size=info.image_size,
        vertices=info.vertices,
        triangles=info.triangles,
        refine_steps=info.refine_steps,
        refine_by_default=settings.refine,
        prior=info.prior,
        detector=detector,
        outputs=list(OUTPUTS),
        limits={
            "body_megabytes": limits.body_megabytes,
            "megapixels": limits.megapixels,
            "side": float(limits.side),
            "pictures": float(limits.pictures),
            "faces": float(limits.faces),
        },
    )


def request_id_of(request: Request) -> str:
    """Return the id that admission assigned to this request."""
    return request.headers.get(REQUEST_ID_HEADER, "")


def owner_of(request: Request) -> str | None:
    """Return the name of the API key of this request, as set by admission; None without keys."""
    return request.scope.get("state", {}).get("client")


async def _problem_handler(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = {**error.headers(), REASON_HEADER: error.reason}
    return Response(error.body(request_id_of(request)), error.status, headers=headers, media_type=MEDIA_TYPE)


async def _http_exception_handler(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        "not_found": "there is no route for this path; see /openapi.json",
        "method_not_allowed": "method not allowed for this path; see /openapi.json",
        "bad_request": "the request cannot be read; see /openapi.json",
    }
    code = _CODES_BY_STATUS.get(error.status_code, "bad_request")
    response = await _problem_handler(request, Problem(code, details[code]))
    allowed = (error.headers or {}).get("Allow")
    if allowed is not None:
        response.headers["allow"] = allowed.replace("GET", "GET, HEAD")
    return response


async def _validation_error_handler(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])[:80]
    return await _problem_handler(request, Problem("unprocessable", f"{where}: {first['msg']}"))


async def _internal_error_handler(request: Request, error: Exception) -> Response:
    """Respond with a problem; Starlette re-raises the exception, and admission logs it."""
    return await _problem_handler(request, Problem.internal_error())


def _problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problem responses of a route, for the OpenAPI document."""
    titles = {status: title for status, title in TITLES.values()}
    return {
        status: {
            "description": titles[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
        }
        for status in statuses
    }
