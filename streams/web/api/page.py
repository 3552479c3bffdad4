"""The reference page of the API: every request by noun, who may make it, what it takes; of its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = """\
# The API

Every request, who may make it, what it takes. [docs/api.md](../api.md) says how to use it; a running service gives the
whole as an OpenAPI document: `GET /v1/openapi.json`. Bold is required. A POST marked ¹ is done once under an
`Idempotency-Key`; one marked ² is left for the engines and may be answered 202.
"""

Document = Mapping[str, Any]


def page(document: Document) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_sections(document)]) + "\n"


def _sections(document: Document) -> Iterator[str]:
    for tag in document["tags"]:
        rows = [
            _row(document, method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if tag["name"] in operation.get("tags", ())
        ]
        if rows:
            yield f"## {tag['name'].capitalize()}\n\n{tag['description']}\n"
            yield "| request | scope | does | takes |\n|---|---|---|---|"
            yield "\n".join(rows) + "\n"


def _row(document: Document, method: str, path: str, operation: Document) -> str:
    named = {parameter["name"] for parameter in operation.get("parameters", ())}
    marks = ("¹" if "Idempotency-Key" in named else "") + ("²" if "Prefer" in named else "")
    takes = "; ".join(filter(None, (_parameters(operation), _body(document, operation))))
    return f"| `{method.upper()} {path}`{marks} | {_scope(operation)} | {operation['summary']} | {takes} |"


def _scope(operation: Document) -> str:
    text = str(operation.get("description", ""))
    return text.rpartition("Needs the scope `")[2].partition("`")[0] if operation.get("security") else "public"


def _parameters(operation: Document) -> str:
    found = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    return ", ".join(_name(p["name"], bool(p.get("required"))) for p in found)


def _body(document: Document, operation: Document) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolved(document, content.get("application/json", {}).get("schema", {}))
    fields = schema.get("properties", {})
    if fields:
        required = schema.get("required", ())
        return "body: " + ", ".join(_name(name, name in required) for name in fields)
    return "body: " + ", ".join(f"`{kind}`" for kind in content) if content else ""


def _resolved(document: Document, schema: Document) -> Document:
    """Return the schema itself: of a reference, or of the one alternative that has fields."""
    if "$ref" in schema:
        found: Document = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    for one in schema.get("anyOf", ()):
        if "$ref" in one:
            return _resolved(document, one)
    return schema


def _name(name: str, required: bool) -> str:
    return f"**`{name}`**" if required else f"`{name}`"
