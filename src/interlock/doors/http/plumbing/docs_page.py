"""The interactive documentation: a page, its scripts and its document, all from this server."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from interlock.core.errors import not_found
from interlock.doors.http.plumbing.etag import matches, tag_of
from interlock.doors.http.plumbing.operation import Reply
from interlock.doors.http.plumbing.replies import BytesReply, EmptyReply, Headers
from interlock.doors.http.plumbing.security import PAGE

PUBLIC: Headers = ((b"cache-control", b"public, max-age=300"),)

_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interlock API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
_START = b"""window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "/docs/assets/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis]
  });
});
"""
_BUNDLED = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}


def page() -> Reply:
    """The documentation page."""
    return BytesReply(_PAGE, media_type="text/html; charset=utf-8", headers=(*PAGE, *PUBLIC))


def asset(name: str, if_none_match: str | None) -> Reply:
    """A script or style of the page. Raises NOT_FOUND for any name but the few it needs."""
    if name == "start.js":
        return cached(_START, "text/javascript; charset=utf-8", if_none_match)
    if name not in _BUNDLED:
        raise not_found("NOT_FOUND", "The documentation page has no such asset")
    return cached(_bundled(name), _BUNDLED[name], if_none_match)


def cached(body: bytes, media_type: str, if_none_match: str | None) -> Reply:
    """Public content with an ETag, or 304."""
    tag = tag_of(body)
    headers = (*PUBLIC, (b"etag", tag.encode()))
    if if_none_match is not None and matches(if_none_match, tag):
        return EmptyReply(304, headers)
    return BytesReply(body, media_type=media_type, headers=headers)


@lru_cache(maxsize=len(_BUNDLED))
def _bundled(name: str) -> bytes:
    vendor = files("swagger_ui_bundle") / "vendor"
    newest = max((entry for entry in vendor.iterdir() if entry.name.startswith("swagger-ui")), key=lambda e: e.name)
    return (newest / name).read_bytes()


def for_page(document: dict[str, Any]) -> dict[str, Any]:
    """The document as OpenAPI 3.0, which is what the bundled page can show: null becomes ``nullable``."""
    return {**_simplify(document), "openapi": "3.0.3"}


def _simplify(value: Any) -> Any:
    if isinstance(value, list):
        return [_simplify(item) for item in value]
    if not isinstance(value, dict):
        return value
    simple = {key: _simplify(item) for key, item in value.items()}
    options = simple.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del simple["anyOf"]
        simple |= {"nullable": True} | (rest[0] if len(rest) == 1 else {"anyOf": rest})
    return simple
