"""The OpenAPI document, with examples that the run can read."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from u2a.common.distributions import installed_version
from u2a_serve.values import Reader

if TYPE_CHECKING:
    from fastapi import FastAPI

    from u2a_serve.service import Service

VERSION = installed_version("u2a") or "0"
TEXT = "Predictions of a trained multimodal model from any subset of its modalities."


class Predicted(BaseModel):
    """What the model says of one sample."""

    labels: list[str] = Field(description="the most probable class, or all that reach their thresholds")
    probabilities: dict[str, float] = Field(description="calibrated, the most probable class first")
    used: list[str] = Field(description="the modalities that were given")
    filled: list[str] = Field(description="those that were stood in for")
    set: list[str] | None = Field(None, description="with coverage: holds the true class with that probability")
    set_from: str | None = Field(None, description="the group of patterns that the set's promise rests on")


class Error(BaseModel):
    """What is wrong, and where."""

    sample: int | None = Field(description="which sample, from 0; null = the request itself")
    modality: str | None = Field(description="the modality that cannot be used; null = the sample itself")
    message: str


class Answered(BaseModel):
    """A prediction for each sample, in order."""

    predictions: list[Predicted]


class PartlyAnswered(BaseModel):
    """What is wrong, and the predictions of the samples that are in order; null for the others."""

    errors: list[Error]
    predictions: list[Predicted | None] | None = None


class Refusal(BaseModel):
    """The request was not answered."""

    errors: list[Error]


_REFUSALS = {
    400: "the body cannot be read",
    401: "the token is missing or wrong",
    413: "more than the service's limits",
    415: "another kind of body",
    503: "too many requests at once; the header Retry-After says when to come again",
}


def predict(service: Service) -> dict[str, Any]:
    """The document's part on ``/predict``, with examples that this run can read."""
    reader = Reader(service.model.recipe, service.model.preprocessors, service.settings.limits)
    example = _example(reader)
    encoded = {name: _as_json(reader, name, value) for name, value in example.items()}
    examples: dict[str, Any] = {"all": {"summary": "one sample", "value": {"sample": encoded}}}
    if len(encoded) > 1:
        each = [{name: value} for name, value in encoded.items()]
        examples["each"] = {"summary": "a sample of each modality alone", "value": {"samples": each}}
    fields = {name: _field(reader, name) for name in reader.specs}
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": text} for status, text in _REFUSALS.items()
    }
    return {
        "summary": "Predict",
        "responses": {
            200: {"model": Answered},
            422: {
                "model": PartlyAnswered,
                "description": "what is wrong with which samples; the others are answered",
            },
            **refusals,
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": _schema(reader), "examples": examples},
                    "multipart/form-data": {"schema": {"type": "object", "properties": fields}},
                },
            }
        },
    }


def _schema(reader: Reader) -> dict[str, Any]:
    values = {name: {"anyOf": [_of_json(reader, name), {"type": "null"}]} for name in reader.specs}
    sample = {"type": "object", "properties": values, "additionalProperties": False, "minProperties": 1}
    one = {"type": "object", "properties": {"sample": sample}, "required": ["sample"]}
    many = {
        "type": "object",
        "properties": {"samples": {"type": "array", "items": sample, "maxItems": reader.limits.samples}},
        "required": ["samples"],
    }
    return {"oneOf": [one, many]}


def _of_json(reader: Reader, name: str) -> dict[str, Any]:
    spec = reader.specs[name]
    if "txt" in spec.extensions:
        return {"type": "string", "maxLength": reader.limits.text, "description": "the text itself"}
    file = {"type": "string", "contentEncoding": "base64", "description": _kinds(reader, name)}
    if spec.to_member is None:
        return file
    value = {"type": "object", "properties": {"value": {"description": "what the plugin takes in Python"}}}
    return {"anyOf": [file, value | {"required": ["value"]}]}


def _field(reader: Reader, name: str) -> dict[str, Any]:
    if "txt" in reader.specs[name].extensions:
        return {"type": "string"}
    return {"type": "string", "format": "binary", "description": _kinds(reader, name)}


def _kinds(reader: Reader, name: str) -> str:
    return f"a file: {', '.join(reader.specs[name].extensions)}"


def _example(reader: Reader) -> dict[str, bytes]:
    """A small member of each modality, where one is known that it reads."""
    from u2a_serve.bodies import Given

    found = {}
    for name, spec in reader.specs.items():
        for extension, member in _members().items():
            if extension in spec.extensions and not reader.read(0, {name: Given(member, True)})[1]:
                found[name] = member
                break
    return found


def _members() -> dict[str, bytes]:
    """A text, a picture, a second of sound: by the extension that they have."""
    import numpy as np
    import soundfile
    from PIL import Image

    picture, sound = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(picture, "PNG")
    tone = np.sin(np.arange(8000) / 8000 * 2 * np.pi * 440) / 2
    soundfile.write(sound, tone, 8000, "PCM_U8", format="WAV")
    return {"txt": b"a small red boat", "png": picture.getvalue(), "wav": sound.getvalue()}


def _as_json(reader: Reader, name: str, member: bytes) -> str:
    if "txt" in reader.specs[name].extensions:
        return member.decode()
    return base64.b64encode(member).decode()


def document(app: FastAPI, with_token: bool) -> dict[str, Any]:
    """The OpenAPI document."""
    found = app.openapi()
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path in ("/predict", "/model", "/metrics"):
            for operation in found["paths"][path].values():
                operation["security"] = [{"token": []}]
    return found
