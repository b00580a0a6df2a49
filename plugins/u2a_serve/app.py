"""The addresses: ``/predict``, ``/model``, ``/health``, ``/ready``, ``/metrics``, ``/openapi.json``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from u2a_serve import description
from u2a_serve.about import of_model
from u2a_serve.gate import check_token
from u2a_serve.measures import CONTENT_TYPE
from u2a_serve.refusals import Fault, Refused, refused
from u2a_serve.service import Service
from u2a_serve.watching import Watched


def build_app(service: Service) -> FastAPI:
    """The application of a service."""
    token = service.settings.token

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title=f"u2a: {service.model.recipe.name}",
        version=description.VERSION,
        description=description.TEXT,
        openapi_url=None,  # it stands behind the token; pages that show it would fetch scripts from elsewhere
        lifespan=lifespan,
    )
    app.add_middleware(Watched, measures=service.measures)
    _answer_errors(app)

    async def allowed(request: Request) -> None:
        check_token(token, request.headers.get("authorization"))

    _add_open(app, service)
    _add_closed(app, service, [Depends(allowed)])
    return app


def _add_closed(app: FastAPI, service: Service, checked: list[Any]) -> None:
    """What needs the token, where the service has one."""

    @app.post("/predict", dependencies=checked, **description.predict(service))
    async def predict(
        request: Request,
        top: Annotated[int | None, Query(ge=1, description="the most probable classes only")] = None,
        coverage: Annotated[
            float | None, Query(description="add sets that hold the true class with this probability, e.g. 0.9")
        ] = None,
    ) -> Response:
        answer = await service.answer(request, coverage)
        return JSONResponse(answer.as_dict(top), 422 if answer.faults else 200)

    about = of_model(service.model)

    @app.get("/model", dependencies=checked, summary="What this service knows")
    async def model() -> Response:
        return JSONResponse(about)

    @app.get("/metrics", dependencies=checked, summary="Counters, as Prometheus reads them")
    async def metrics() -> Response:
        return Response(service.measures.text(), media_type=CONTENT_TYPE)

    @app.get("/openapi.json", dependencies=checked, include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(description.document(app, service.settings.token is not None))


def _add_open(app: FastAPI, service: Service) -> None:
    """What those ask who watch over the process."""

    @app.get("/health", summary="Whether the process is alive")
    async def health() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/ready", summary="Whether requests are answered now", responses={503: {"description": "no"}})
    async def ready() -> Response:
        if not service.ready:
            raise refused(503, "it has not begun yet, or is about to end", Retry_After="1")
        return JSONResponse({"status": "ready"})


def _answer_errors(app: FastAPI) -> None:
    """Every refusal has one form: ``{"errors": [{"sample", "modality", "message"}]}``."""

    @app.exception_handler(Refused)
    async def refuse(request: Request, error: Refused) -> Response:
        return _errors(error.status, error.faults, dict(error.headers))

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        return _errors(422, [Fault(f"{one['loc'][-1]}: {one['msg']}") for one in error.errors()], {})

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return _errors(error.status_code, [Fault(str(error.detail))], dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return _errors(400, [Fault("the connection was closed before the body's end")], {})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _errors(500, [Fault("a fault of the service; its log says more")], {})


def _errors(status: int, faults: Any, headers: dict[str, str]) -> Response:
    return JSONResponse({"errors": [fault.as_dict() for fault in faults]}, status, headers)
