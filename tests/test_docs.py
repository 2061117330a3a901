"""The docs cannot go stale: generated pages are current, links lead somewhere, examples load."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from commands.docpages import write_pages
from core.settings import Settings
from core.topics import FRAME_FILTERS, INGEST_FILTERS
from scenarios.loader import SHIPPED_PACKS, load_packs

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_generated_pages_are_current() -> None:
    assert write_pages(ROOT / "docs", check_only=True) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [
        link
        for link in links
        if not link.startswith(("http://", "https://")) and not (page.parent / link).exists()
    ]
    assert missing == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {page.name for page in folder.glob("0*.md")}


def test_every_setting_and_topic_has_its_line() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    models: list[type[BaseModel]] = [Settings]
    for model in models:
        for name, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                models.append(type(field.default))
                continue
            assert name.upper() in settings
            assert field.description, name
    topics = (ROOT / "docs" / "topics.md").read_text()
    assert all(name in topics for name, _ in (*INGEST_FILTERS, *FRAME_FILTERS))


def test_every_scenario_has_its_page() -> None:
    listed = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    for scenario in load_packs():
        page = (SHIPPED_PACKS / f"{scenario.id}.md").read_text(encoding="utf-8")
        assert scenario.category.code in page
        assert f"`{scenario.id}`" in listed


def test_the_example_scenario_loads_beside_the_shipped_ones(tmp_path: Path) -> None:
    for file in [*SHIPPED_PACKS.glob("*.yaml"), *(ROOT / "docs" / "examples").glob("*.yaml")]:
        shutil.copy(file, tmp_path)
    assert {one.id for one in load_packs(tmp_path)} == {one.id for one in load_packs()} | {
        "river-high"
    }


def test_nothing_speaks_of_machines_or_addresses() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links", text)
    assert "http" not in (ROOT / "web" / "package-lock.json").read_text()


def test_every_test_that_the_guarantees_name_is_there() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[^` ]+)`", text))
    assert len(named) > 10
    assert [one for one in sorted(named) if not (ROOT / one).exists()] == []
