"""Writes a file and leaves it with the execution as an artifact."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import msgspec

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, choice, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services

_KNOWN_ENDINGS = {
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "yaml": "application/yaml",
}
_CONTENT_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}(?:; ?[\w.+-]{1,30}=[\w.+-]{1,60})*", re.ASCII)


class WriteArtifact:
    """Satisfies ``ports/node.Node``. What a safe name is and how large a file may be, the services decide."""

    type = NodeType(
        name="write_artifact",
        title="Write artifact",
        description=(
            "Stores a file as an artifact of the execution: `content` (a text, or bytes in base64) or `data` (any "
            "JSON, written indented). Gives `{name, size, sha256, content_type}`. The name is a plain file name: "
            "letters, digits, spaces and `._()+@=,-`, not beginning with a dot or a dash, without folders."
        ),
        category="data",
        schema=parameters(
            {
                "name": text("The file's name, such as report.md.", pattern=r"^[^./\\-][^/\\]{0,127}$"),
                "content": text("The file as a text, or its bytes in base64."),
                "encoding": choice("What `content` is.", "text", "base64", default="text"),
                "data": anything("The file as any JSON, instead of `content`."),
                "content_type": text("The media type. Without it, the one that the name's ending stands for."),
            },
            required=("name",),
            anyOf=[{"required": ["content"]}, {"required": ["data"]}],
        ),
        examples=(
            {
                "parameters": {"name": "report.md", "content": "# Sales\n"},
                "output": {
                    "name": "report.md",
                    "size": 8,
                    "sha256": "69b84b263fc8da0628de6f27e6de27948042e3347e5fa53799e5930749575a50",
                    "content_type": "text/markdown; charset=utf-8",
                },
            },
            {"parameters": {"name": "groups.json", "data": "{{ $json.groups }}"}},
        ),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done:
        given = attempt.parameters
        name = given.get("name")
        if not isinstance(name, str):
            raise _invalid(f"name is {str(name)[:100]!r}; it must be a text such as report.md")
        content = _read_content(given)
        ref = await services.write_artifact(name, content, _read_content_type(given, name))
        return Done(output=msgspec.to_builtins(ref), artifacts=(ref,))


def _read_content(given: dict[str, Any]) -> bytes:
    content = given.get("content")
    if content is None and "data" in given:
        return (json.dumps(given["data"], indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    if not isinstance(content, str):
        raise _invalid("content must be a text; give anything else as `data`")
    if given.get("encoding", "text") != "base64":
        return content.encode("utf-8", "replace")
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("content is not base64, as `encoding` says it is") from error


def _read_content_type(given: dict[str, Any], name: str) -> str:
    content_type = given.get("content_type")
    if content_type is None:
        return _content_type_of(given, name)
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise _invalid(f"content_type is {str(content_type)[:100]!r}; write it like text/csv")
    return content_type


def _content_type_of(given: dict[str, Any], name: str) -> str:
    known = _KNOWN_ENDINGS.get(name.rpartition(".")[2].lower())
    if known is not None:
        return known
    if given.get("content") is None:
        return "application/json"
    return "application/octet-stream" if given.get("encoding") == "base64" else "text/plain; charset=utf-8"


def _invalid(what: str) -> NodeFailed:
    return NodeFailed("PARAMETER_INVALID", f"The parameter {what}.")


NODE = WriteArtifact()
