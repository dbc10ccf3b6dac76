"""The console script ``interlock`` and the ASGI factory."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock import config
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT
from interlock.core.workflow import Problem
from interlock.doors.cli.app import build
from interlock.doors.cli.programs import (
    Check,
    CliEnvironment,
    DemoOptions,
    HeadOptions,
    JoinedNode,
    JoinOptions,
    SchemaReport,
    ServeOptions,
    Stopped,
    UpOptions,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from interlock.bootstrap import programs as whole_programs


def main() -> None:
    """Run the command line."""
    build(Programs())()


def create_app(settings: config.Settings | None = None) -> ASGIApp:
    """A complete server process as an ASGI app; it starts with its lifespan. For uvicorn's or gunicorn's workers."""
    if settings is None:
        settings = importlib.import_module("interlock.bootstrap.programs").server_settings()
    app: ASGIApp = importlib.import_module("interlock.bootstrap.factory").create_app(settings)
    return app


def settings_or_refusal(**given: Any) -> config.Settings:
    """The settings; what is wrong with them as the command line's error."""
    try:
        return config.load(**given)
    except config.SettingsRefused as refused:
        raise refusal_of(refused.problems) from refused


def refusal_of(problems: Sequence[str]) -> InterlockError:
    """What is wrong with the settings, all of it, as the command line's error."""
    return InterlockError(
        ErrorKind.RULE,
        "SETTINGS_REFUSED",
        "The settings cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems),
        details={"next": "Mend them in the environment or in .env; `.env.example` lists all settings."},
    )


class Programs:
    """Satisfies ``doors/cli/programs.Programs``; the parts of a server are imported only by what needs them."""

    @property
    def _parts(self) -> Any:
        whole: whole_programs = importlib.import_module("interlock.bootstrap.programs")  # type: ignore[valid-type]
        return whole

    def environment(self) -> CliEnvironment:
        settings = settings_or_refusal()
        token = settings.token.get_secret_value() if settings.token is not None else None
        return CliEnvironment(settings.url, token, settings.data_dir, settings.profile)

    def up(self, options: UpOptions) -> int:
        return int(self._parts.up(options))

    def serve(self, options: ServeOptions) -> int:
        return int(self._parts.serve_processes(options))

    def head(self, options: HeadOptions) -> int:
        return int(self._parts.head(options))

    async def join(self, options: JoinOptions) -> JoinedNode:
        settings = settings_or_refusal(data_dir=options.data_dir)
        node: JoinedNode = await importlib.import_module("interlock.bootstrap.ray_node").join(settings, options)
        return node

    def working(self, data_dir: Path | None, grace: float) -> AbstractContextManager[None]:
        running = importlib.import_module("interlock.bootstrap.running")
        noted: AbstractContextManager[None] = running.listed(
            settings_or_refusal(data_dir=data_dir).data_dir, running.WORKER, grace
        )
        return noted

    def stop(self, data_dir: Path | None) -> list[Stopped]:
        settings = settings_or_refusal(data_dir=data_dir)
        stopped: list[Stopped] = importlib.import_module("interlock.bootstrap.running").stop_all(settings.data_dir)
        return stopped

    def demo(self, options: DemoOptions) -> int:
        return int(self._parts.demo(options))

    def migrate(self) -> SchemaReport:
        report: SchemaReport = self._parts.migrate_now(change=True)
        return report

    def schema(self) -> SchemaReport:
        report: SchemaReport = self._parts.migrate_now(change=False)
        return report

    def doctor(self) -> list[Check]:
        checks: list[Check] = self._parts.doctor()
        return checks

    def mint_token(self, data_dir: Path) -> str:
        return str(importlib.import_module("interlock.bootstrap.tokens").mint_token(data_dir))

    def mint_admin_token(self, data_dir: Path, tenant: str = LOCAL_TENANT) -> str:
        return str(importlib.import_module("interlock.bootstrap.tokens").mint_admin_token(data_dir, tenant))

    def rotate_token_key(self, data_dir: Path) -> None:
        importlib.import_module("interlock.bootstrap.tokens").rotate_token_key(data_dir)

    def encryption_keys(self, data_dir: Path | None, *, rotate: bool) -> list[str]:
        settings = settings_or_refusal(data_dir=data_dir)
        return list(importlib.import_module("interlock.bootstrap.secrets").encryption_keys(settings, rotate=rotate))

    def check_file(self, source: dict[str, Any]) -> list[Problem]:
        problems: list[Problem] = self._parts.check_file(source)
        return problems
