"""The page docs/cohorts.md: what the catalogue holds, and how far the places of its files are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from spotweave.plan import tables

CONFIDENCE = {
    "known": "known: seen in the publisher's listing, or fetched",
    "pattern": "pattern: follows from the publisher's naming; the file itself was not seen",
    "unknown": "unknown: the study's page is known, which file is whose is not; expect to fill in the row",
}


def catalogue(root: Path) -> tables.Tables:
    """The tables of config/catalogue.yaml in the project's folder, which is also the working folder."""
    config = {
        **yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8")),
        **yaml.safe_load((root / "config/catalogue.yaml").read_text(encoding="utf-8")),
    }
    return tables.load(config, root, "config/catalogue.yaml")


def describe(known: tables.Tables) -> str:
    """The page as Markdown."""
    rows = list(known.samples.values())
    donors = len({row["donor"] for row in rows})
    lines = [
        "# Cohorts",
        "",
        f"`config/catalogue.yaml` knows {len(rows)} samples of {donors} donors. Build a part of it with",
        '`snakemake --configfile config/catalogue.yaml --config select="organ=Breast technology=Visium"`; look first',
        "with `python scripts/query.py organ=Breast technology=Visium`.",
        "This page is written by `scripts/describe_cohorts.py`.",
        "",
        "How far the places of the files are known:",
        "",
        *(f"- **{name}** {text.partition(': ')[2]}" for name, text in CONFIDENCE.items()),
        "",
        "No address was fetched when the tables were written: the first fetch of a row is its test, and a file that is",
        "gone or different is refused with its name. `checksums` counts the rows with a hash for at least one file.",
        "",
        "| table | samples | donors | technology | known | pattern | unknown | checksums |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cohort, names in known.cohorts.items():
        lines.append(_line(cohort, [known.samples[name] for name in names]))
    lines += [_line("**all**", rows), "", "## Licences", "", *_counted(rows, "licence")]
    lines += ["", "## Sources", "", *_counted(rows, "source"), "", "## Rows whose files are not known", ""]
    unknown = [row for row in rows if row.get("url_confidence") == "unknown"]
    lines += ["| sample | source | accession | notes |", "|---|---|---|---|"]
    for row in unknown:
        notes = row.get("notes", "").replace("|", "/")
        lines.append(f"| {row['sample_id']} | {row['source']} | {row.get('accession', '')} | {notes} |")
    return "\n".join(lines) + "\n"


def _line(title: str, rows: Sequence[Mapping[str, str]]) -> str:
    by_confidence = Counter(row.get("url_confidence", "known") for row in rows)
    technologies = ", ".join(sorted({row["technology"] for row in rows}))
    hashed = sum(any(column.endswith("_checksum") for column in row) for row in rows)
    cells = [title, len(rows), len({row["donor"] for row in rows}), technologies]
    cells += [by_confidence[name] for name in CONFIDENCE] + [hashed]
    return "| " + " | ".join(map(str, cells)) + " |"


def _counted(rows: Sequence[Mapping[str, str]], column: str) -> list[str]:
    counts = Counter(row.get(column, "unspecified") for row in rows)
    return [f"- {name}: {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
