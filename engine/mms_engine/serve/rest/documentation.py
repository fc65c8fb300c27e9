"""Documentation of the interface as a page without scripts, made from its OpenAPI document."""

import html
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

router = APIRouter(tags=["operation"])

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-size:.9em}table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;"
    "padding:.2rem 1rem .2rem 0}:root{color-scheme:light dark}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@router.get("/docs", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the page."""
    content = "".join(_page(request.app.openapi()))
    return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY})


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style><h1>{title}</h1>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
            yield f"<p>{html.escape(operation.get('summary', ''))}.</p>"
            yield from _table(list(_fields(operation)))


def _fields(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield the name, the schema and whether it is required of each parameter and form field."""
    for one in operation.get("parameters", []):
        yield one["name"], {**one["schema"], **one}, one.get("required", False)
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        schema = kind["schema"]
        for name, field in schema.get("properties", {}).items():
            yield name, field, name in schema.get("required", [])


def _table(fields: list[tuple[str, dict[str, Any], bool]]) -> Iterator[str]:
    if not fields:
        return
    yield "<table><tr><th>Field<th>Type<th>Meaning"
    for name, field, is_required in fields:
        choices = field.get("enum") or field.get("items", {}).get("enum") or []
        notes = [field.get("description", ""), "Required." if is_required else ""]
        notes += [f"One of {', '.join(map(str, choices))}." if choices else ""]
        notes += [f"Default: {field['default']}." if field.get("default") else ""]
        text = html.escape(" ".join(filter(None, notes)))
        yield f"<tr><td><code>{html.escape(name)}</code><td>{field.get('type', '')}<td>{text}"
    yield "</table>"
