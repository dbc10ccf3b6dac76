"""The pages that are made from the code are what the code says today."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.bootstrap import document

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", document.PAGES)
def test_a_page_is_what_the_code_says(path: str) -> None:
    made = document.PAGES[path]()
    assert document.stale(ROOT, {path: made}) == [], "run `make docs` and read what changed"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without any of the pages, as the current folder."""
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_missing_pages_are_named_by_the_check_and_nothing_is_written(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert document.main(["--check"]) == 1
    named = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert named == list(document.pages())
    assert [path for path in copy.rglob("*") if path.is_file()] == []


def test_pages_are_written_and_are_current_then(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert document.main([]) == 0
    assert {path: (copy / path).read_text() for path in document.pages()} == document.pages()
    capsys.readouterr()
    assert document.main(["--check"]) == 0
    assert document.main([]) == 0
    assert capsys.readouterr().out == "", "what is current is left alone"


def test_only_what_is_stale_is_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document.main([])
    (copy / document.SETTINGS_PAGE).write_text("# Settings\n")
    capsys.readouterr()
    assert document.main([]) == 0
    assert capsys.readouterr().out == f"{document.SETTINGS_PAGE} written\n"


def test_another_folder_than_the_projects_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        document.main([])
    assert "top folder of the project" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
