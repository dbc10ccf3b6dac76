"""Every setting is documented, every name that is written anywhere is one, and the page's words are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock import config
from interlock.backends.executor.pool import surroundings
from interlock.bootstrap.document import ENV_FILE, SETTINGS_PAGE, env_file, environment_names, settings_page
from interlock.config import Settings, SettingsRefused, known_names, load, secret_names
from interlock.secret_files import ENDING

ROOT = Path(__file__).parents[2]
WRITTEN = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(path for path in (ROOT / "examples").rglob("*.*") if path.suffix in (".md", ".yaml", ".py", ".toml")),
    *(ROOT / "src").rglob("*.py"),
    ROOT / ENV_FILE,
    ROOT / "Makefile",
]
NAME = re.compile(r"(?<![A-Z_])INTERLOCK_[A-Z0-9_]+(?![A-Z0-9_*])")
NO_SETTINGS = {
    "INTERLOCK_DEMO_OK",
    "INTERLOCK_RUN_ID",
    "INTERLOCK_TASK_ID",
    "INTERLOCK_ATTEMPT",
    "INTERLOCK_EFFECT_KEY",
    "INTERLOCK_EFFECT_KEYS",
}
"""Words of that form that are no settings: the last line of the demo, and what users' code is told of its task."""


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings, in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


def rows() -> dict[str, list[str]]:
    """The cells of the page's table after the names, by each name."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in settings_page().splitlines() if line.startswith("| `")]
    return {name: [cell.strip() for cell in row[1:]] for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_setting_is_documented_under_all_its_names_with_a_meaning(field: str) -> None:
    meaning = Settings.model_fields[field].description
    assert meaning
    assert environment_names(field)[0] == f"INTERLOCK_{field.upper()}"
    for name in environment_names(field):
        assert rows()[name][2] == meaning.replace("|", "\\|")


def test_nothing_else_is_documented() -> None:
    assert set(rows()) == set(known_names())


def test_every_name_that_is_written_is_a_setting() -> None:
    known = known_names().keys() | {name + ENDING for name in secret_names()} | NO_SETTINGS
    wrong = {f"{path.relative_to(ROOT)}: {name}" for path in WRITTEN for name in NAME.findall(path.read_text())}
    assert {line for line in wrong if line.split(": ")[1] not in known} == set()


@pytest.mark.parametrize("name", known_names())
def test_a_default_of_the_page_is_what_the_program_uses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    default, before = rows()[name][1].strip("`"), load()
    if default:
        monkeypatch.setenv(name, str(Path(default).expanduser()) if default.startswith("~") else default)
    assert load() == before


def test_the_file_to_copy_sets_every_setting_and_can_be_used_as_it_is(tmp_path: Path) -> None:
    lines = [line for line in env_file().splitlines() if re.match(r"#[A-Z]", line)]
    assert [line[1:].partition("=")[0] for line in lines] == [environment_names(f)[0] for f in Settings.model_fields]
    (tmp_path / ".env").write_text(env_file())
    assert load().model_fields_set == set()
    (tmp_path / ".env").write_text("\n".join(line[1:] for line in lines))
    empty = {field for field, line in zip(Settings.model_fields, lines, strict=True) if line.endswith("=")}
    assert load().model_fields_set == set(Settings.model_fields) - empty, "an empty value means the default"


def test_the_order_of_the_page_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("INTERLOCK_PORT=1\n")
    assert load().port == 1
    monkeypatch.setenv("PORT", "2")
    assert load().port == 2
    monkeypatch.delenv("PORT")
    monkeypatch.setenv("INTERLOCK_PORT", "3")
    assert load().port == 3
    assert load(port=4).port == 4


def test_all_problems_are_listed_at_once_with_the_name_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_PROT", "1")
    monkeypatch.setenv("INTERLOCK_SLOTS", "many")
    monkeypatch.setenv("INTERLOCK_LOG_LEVEL", "loud")
    with pytest.raises(SettingsRefused) as refused:
        load()
    assert len(refused.value.problems) == 3
    assert refused.value.problems[0] == "INTERLOCK_PROT is not a setting; did you mean INTERLOCK_PORT?"


def test_the_page_and_the_file_name_each_other() -> None:
    assert f"({'../' * SETTINGS_PAGE.count('/')}{ENV_FILE})" in settings_page()
    assert SETTINGS_PAGE in env_file()


def test_only_the_settings_read_the_environment() -> None:
    readers = [path for path in (ROOT / "src").rglob("*.py") if re.search(r"\bos\.(environ|getenv)", path.read_text())]
    assert sorted(readers) == sorted(
        [Path(config.__file__), Path(surroundings.__file__)]
    )  # that one tells functions of their task
