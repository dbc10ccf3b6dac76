"""The interactive documentation: a page, its scripts and its document, all from this server."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from interlock.core.errors import not_found
from interlock.doors.http.plumbing.etag import matches, tag_of
from interlock.doors.http.plumbing.operation import Reply
from interlock.doors.http.plumbing.replies import VARY, BytesReply, EmptyReply, Headers
from interlock.doors.http.plumbing.security import PAGE

PUBLIC: Headers = ((b"cache-control", b"public, max-age=300"), VARY)

_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interlock API</title>
<link rel="icon" href="/docs/assets/icon.svg">
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
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    onComplete: function () {
      var schemes = window.ui.specSelectors.specJson().getIn(["components", "securitySchemes"]);
      if (schemes && schemes.has("tenant")) { // local mode: whoever tries something out is this tenant
        window.ui.preauthorizeApiKey("tenant", "default");
      }
    }
  });
});
"""
_ICON = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-width="4">
<circle cx="12" cy="16" r="8" stroke="#1f6f8b"/><circle cx="20" cy="16" r="8" stroke="#e8a33d"/>
</svg>
"""
_JAVASCRIPT = "text/javascript; charset=utf-8"
_OWN = {"start.js": (_START, _JAVASCRIPT), "icon.svg": (_ICON, "image/svg+xml")}
_PACKAGE = "mkdocs_swagger_ui_tag"  # only for the files of Swagger UI in it; none of its code is loaded
_BUNDLED = {
    "swagger-ui.css": ("stylesheets/swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("javascripts/swagger-ui-bundle.js", _JAVASCRIPT),
}


def page() -> Reply:
    """The documentation page."""
    return BytesReply(_PAGE, media_type="text/html; charset=utf-8", headers=(*PAGE, *PUBLIC))


def asset(name: str, if_none_match: str | None) -> Reply:
    """A script or style of the page. Raises NOT_FOUND for any name but the few it needs."""
    if name in _OWN:
        return cached(*_OWN[name], if_none_match)
    if name not in _BUNDLED:
        raise not_found("NOT_FOUND", "The documentation page has no such asset")
    path, media_type = _BUNDLED[name]
    return cached(_bundled(path), media_type, if_none_match)


def cached(body: bytes, media_type: str, if_none_match: str | None) -> Reply:
    """Public content with an ETag, or 304."""
    tag = tag_of(body)
    headers = (*PUBLIC, (b"etag", tag.encode()))
    if if_none_match is not None and matches(if_none_match, tag):
        return EmptyReply(304, headers)
    return BytesReply(body, media_type=media_type, headers=headers)


@lru_cache(maxsize=len(_BUNDLED))
def _bundled(path: str) -> bytes:
    return files(_PACKAGE).joinpath("swagger-ui", path).read_bytes()
