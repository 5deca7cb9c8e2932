"""Examples and form schemas of the OpenAPI document; FastAPI cannot derive them, since serving.parsing reads bodies."""

from typing import Any

from focus_ray.serving.schema import Options

_PICTURE = {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP"}


def _option(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an option as a form or query field; lists are comma-separated strings."""
    kinds = {one.get("type") for one in [schema, *schema.get("anyOf", [])]}
    plain = {key: value for key, value in schema.items() if key in ("default", "description", "enum")}
    if "array" in kinds:
        return {"type": "string", "description": plain.get("description", name)}
    if "anyOf" in schema:
        (one,) = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return {key: value for key, value in (one | plain).items() if value is not None}
    return {key: value for key, value in schema.items() if key != "title"}


_OPTIONS = {name: _option(name, schema) for name, schema in Options.model_json_schema()["properties"].items()}
_QUERY = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in _OPTIONS.items()]


def _form(pictures: dict[str, Any]) -> dict[str, Any]:
    (field,) = pictures
    return {"type": "object", "required": [field], "properties": pictures | _OPTIONS, "additionalProperties": False}


SINGLE_REQUEST: dict[str, Any] = {
    "parameters": _QUERY,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _form({"image": _PICTURE}),
                "example": {"image": "(the bytes of photo.jpg)", "outputs": "mask,glb", "max_faces": 2},
            },
            **{kind: {"schema": _PICTURE} for kind in ("image/jpeg", "image/png", "image/webp")},
        },
    },
}

BATCH_REQUEST: dict[str, Any] = {
    "parameters": _QUERY,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _form({"images": {"type": "array", "items": _PICTURE, "minItems": 1}}),
                "example": {"images": ["(the bytes of one.jpg)", "(the bytes of two.png)"], "refine": False},
            }
        },
    },
}

ANSWER: dict[int | str, Any] = {
    200: {
        "content": {
            "application/json": {
                "example": {
                    "request_id": "5f0c2b7a9d3e4c61",
                    "model_version": "focus-0.1.0-0f3a",
                    "image": {"width": 512, "height": 512},
                    "faces": [],
                    "outputs": {},
                    "milliseconds": {"decode": 4.1, "detect": 31.0, "model": 82.5, "draw": 0.0},
                }
            }
        }
    }
}
