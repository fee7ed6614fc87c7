"""Pages written from registries and tables are up to date."""

import describe_cohorts
import describe_layouts

from spotweave.plan import tables


def test_the_page_of_layouts_is_that_of_the_registries():
    assert describe_layouts.PAGE.read_text() == describe_layouts.describe()
    assert sum(len(variants) for variants in describe_layouts.registries().values()) >= 80


def test_the_page_of_cohorts_is_that_of_the_tables(monkeypatch):
    monkeypatch.chdir(describe_cohorts.ROOT)
    known = describe_cohorts.catalogue()
    assert isinstance(known, tables.Tables)
    assert (describe_cohorts.ROOT / "docs/cohorts.md").read_text() == describe_cohorts.describe(known)
    assert len(known.samples) > 200
