"""D6: the answer to each first attempt is lost once the server has acted; the command tries again; it counts once."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from cli_house import Interlock, Write
from interlock.kit.ids import RandomIds
from served import RunningServer

WAITS = "states: [ask, end]\nuser_input_states: [ask]\ntransitions:\n  - {from: ask, event: OK, to: end}\n"
_KEY = re.compile(rb"(?i)\r\nidempotency-key: *([^\r]+)")


class LosingProxy:
    """Hands everything on in both directions, but the first answer to each ``Idempotency-Key``: there it hangs up."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.lost: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                loses = threading.Event()
                threading.Thread(target=self._hand_on, args=(here, there, loses), daemon=True).start()
                threading.Thread(target=self._hand_back, args=(there, here, loses), daemon=True).start()

    def _hand_on(self, here: socket.socket, there: socket.socket, loses: threading.Event) -> None:
        with suppress(OSError):
            while piece := here.recv(65_536):
                found = _KEY.search(piece)
                if found is not None and found[1] not in self.lost:
                    self.lost.append(found[1])
                    loses.set()
                there.sendall(piece)
        there.close()

    def _hand_back(self, there: socket.socket, here: socket.socket, loses: threading.Event) -> None:
        with suppress(OSError):
            while piece := there.recv(65_536):
                if loses.is_set():
                    break
                here.sendall(piece)
            here.shutdown(socket.SHUT_RDWR)
        here.close()


@pytest.fixture
def proxy(server: RunningServer, interlock: Interlock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LosingProxy]:
    """Stands between the commands and the server."""
    found = LosingProxy(urlsplit(server.url).port or 0)
    monkeypatch.setenv("INTERLOCK_URL", f"http://127.0.0.1:{found.port}")
    yield found
    found.close()


def test_what_a_command_makes_is_made_once(interlock: Interlock, definition: Write, proxy: LosingProxy) -> None:
    name = f"once-{RandomIds().new().hex}"
    assert interlock("flows", "register", definition(WAITS), "--id", name).code == 0
    session = interlock("sessions", "start", name, "--json").json["session_id"]
    assert interlock("sessions", "event", session, "OK", "--json").json["new_state"] == "end"
    key = interlock("keys", "create", name, "--scope", "models:use", "--json").json
    hook = interlock("webhooks", "create", f"http://127.0.0.1:9/{name}", "--event", "execution.failed", "--json").json
    assert (key["key"][:3], hook["secret"][:6]) == ("il_", "whsec_"), "what is shown once is in the second answer"
    assert len(proxy.lost) == len(set(proxy.lost)) == 5
    assert interlock("flows", "show", name, "--json").json["version"] == 1
    executions = interlock("list", "--json").json["executions"]
    started = [one for one in executions if one["metadata"].get("session", {}).get("flow_id") == name]
    keys = [one for one in interlock("keys", "list", "--json").json["api_keys"] if one["client_name"] == name]
    hooks = [one for one in interlock("webhooks", "list", "--json").json["webhooks"] if one["url"].endswith(name)]
    assert (len(started), len(keys), len(hooks)) == (1, 1, 1)
