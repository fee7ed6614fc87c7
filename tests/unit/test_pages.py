"""Pages written from registries and tables are up to date."""

from pathlib import Path

from spotweave.plan import catalogue
from spotweave.simulate import layouts_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_layouts_is_that_of_the_registries():
    assert (ROOT / "docs/layouts.md").read_text() == layouts_page.describe()
    assert sum(len(variants) for variants in layouts_page.registries().values()) >= 80


def test_the_page_of_cohorts_is_that_of_the_tables(monkeypatch):
    monkeypatch.chdir(ROOT)
    known = catalogue.catalogue(ROOT)
    assert (ROOT / "docs/cohorts.md").read_text() == catalogue.describe(known)
    assert len(known.samples) > 200
