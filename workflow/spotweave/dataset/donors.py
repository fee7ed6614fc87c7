"""What the donors of several samples say against each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from spotweave.dataset.evidence import Row, words_in

# "patient 1", "P2", "case_3", "A": a label inside one study, not a name of a person.
BARE_LABEL = re.compile(
    r"(?:patients?|donors?|pt|p|case|subject|sample|mouse|animal|individual)?[ _.#-]*(?:\d{1,3}|[a-z])"
)
PATIENT_LABEL = re.compile(r"(?<![A-Za-z0-9])(?:patient|pat|pt|p)[ _-]?(\d{1,3})(?![A-Za-z0-9.])", re.I)


def donor_contradictions(rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """What the donors of several samples say against each other: one `code: text` a finding, by sample.

    Parameters
    ----------
    rows
        Sample -> its row, of all cohorts, with `cohort`.
    """
    found: dict[str, list[str]] = defaultdict(list)
    samples: dict[str, list[str]] = defaultdict(list)
    for sample in sorted(rows):
        if "donor" in rows[sample]:
            samples[rows[sample]["donor"]].append(sample)
    for donor, members in sorted(samples.items()):
        for code, text in _donor(donor, {sample: rows[sample] for sample in members}):
            for sample in members:
                found[sample].append(f"{code}: {text}")
    return dict(found)


def _donor(donor: str, rows: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    species = sorted({row["species"] for row in rows.values() if "species" in row})
    if len(species) > 1:
        yield "donor-of-two-species", f"samples of donor {donor} are of {' and '.join(species)}"
    studies = {row.get("cohort", row.get("dataset_title", "")) for row in rows.values()}
    if len(studies) > 1 and BARE_LABEL.fullmatch(donor.lower()):
        yield "donor-in-two-cohorts", f"{donor!r} is a label that every study uses; in {', '.join(sorted(studies))}"
    labels: dict[str, list[str]] = defaultdict(list)
    for sample, row in rows.items():
        for label in sorted(set(PATIENT_LABEL.findall(words_in(row, "subseries", "accession")))):
            labels[label].append(sample)
    if len(labels) > 1:
        named = ", ".join(f"P{label} ({' '.join(labels[label])})" for label in sorted(labels))
        yield "donor-and-sample-names", f"one donor, {donor}, but the samples' names say {named}"
