"""Pairs of samples that are not two: found in the counts and the pictures, or known from the literature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spotweave.identity import picture, places
from spotweave.identity.expression import containments

CONFIDENCE = ("hint", "strong", "certain")
COLUMNS = (
    "sample_a",
    "sample_b",
    "relation",
    "confidence",
    "found_by",
    "share",
    "shared",
    "donor_a",
    "donor_b",
    "leaks",
    "evidence",
)

# Share of the smaller sketch from which on a pair is called one, and how many hashes must be shared. Genes: the spots
# are the same. Counts at their places: one is a part of the other or, less alike, the same reads were counted anew.
GENES_SAME = {"certain": 0.5, "strong": 0.05}
GENES_LEAST_SHARED = 8
SPOTS_SAME = {"certain": 0.8, "strong": 0.3}
SPOTS_LEAST_SHARED = 20
# Signs of a picture's hashes that differ: copies stay below, other sections above (docs/identity.md).
PICTURE_SAME = {"whole": 0.16, "tissue": 0.25}


@dataclass(frozen=True)
class Finding:
    """One pair (or one sample of mixed donors, with an empty `sample_b`).

    Attributes
    ----------
    relation
        `same_sample`, `same_image`, `same_donor`, `same_block` or `mixed_donors`.
    confidence
        `certain`, `strong` or `hint`.
    found_by
        `genes`, `spots`, `reads`, `picture`, or `known` for a row of resources/identities.csv.
    share, shared
        What the finding rests on: a share (for pictures the distance, for reads the index of dispersion) and a number
        of shared hashes (for reads, of places).
    """

    sample_a: str
    sample_b: str
    relation: str
    confidence: str
    found_by: str
    share: float | None = None
    shared: int | None = None
    evidence: str = ""


def find(prints: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Pairs that the fingerprints show, sorted.

    Parameters
    ----------
    prints
        Sample -> fingerprint (`expression`: a sketch, `picture`: hashes).
    """
    found = [
        *_by_counts(prints, "genes", "genes_informative", GENES_SAME, GENES_LEAST_SHARED),
        *_by_counts(prints, "spots", "entries", SPOTS_SAME, SPOTS_LEAST_SHARED),
        *_by_reads(prints),
        *_by_pictures(prints),
    ]
    return sorted(found, key=lambda one: (one.sample_a, one.sample_b, one.found_by))


def _by_reads(prints: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Pairs whose counts by place are more alike than two draws."""
    names = sorted(prints)
    return [
        Finding(names[first], names[second], "same_sample", "strong", "reads", round(index, 4), number)
        for first, second, index, number in places.shared_reads(
            [prints[name]["expression"]["places"] for name in names]
        )
    ]


def _by_pictures(prints: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Pairs of one picture, by the hash that shows it more clearly."""
    names = sorted(prints)
    best: dict[tuple[int, int], float] = {}
    for kind, limit in PICTURE_SAME.items():
        distance = picture.distances([prints[name]["picture"][kind] for name in names])
        for first, second in zip(*np.nonzero(np.triu(distance < limit, k=1)), strict=True):
            pair = (int(first), int(second))
            best[pair] = min(best.get(pair, 1.0), float(distance[pair]))
    return [
        Finding(names[first], names[second], "same_image", "strong", "picture", round(share, 4))
        for (first, second), share in sorted(best.items())
    ]


def _by_counts(
    prints: Mapping[str, Mapping[str, Any]], kind: str, size: str, limits: Mapping[str, float], least_shared: int
) -> list[Finding]:
    """Pairs of one sample, by one kind of sketch."""
    names = sorted(prints)
    sketches = [prints[name]["expression"] for name in names]
    pairs = containments([sketch[kind] for sketch in sketches], [sketch[size] for sketch in sketches], least_shared)
    found = []
    for first, second, share, shared in pairs:
        confidence = next((sure for sure, limit in limits.items() if share >= limit), None)
        if confidence:
            one = Finding(names[first], names[second], "same_sample", confidence, kind, round(share, 4), shared)
            found.append(one)
    return found


def known(rows: Iterable[Mapping[str, str]], samples: Iterable[str]) -> list[Finding]:
    """The rows of resources/identities.csv whose samples are all there."""
    there = set(samples)
    return [
        Finding(
            row["sample_a"],
            row.get("sample_b", ""),
            row["relation"],
            row["confidence"],
            "known",
            evidence=f"{row['evidence']} ({row['source']})",
        )
        for row in rows
        if row["sample_a"] in there and (not row.get("sample_b") or row["sample_b"] in there)
    ]


def leaks(finding: Finding, donors: Mapping[str, str]) -> bool:
    """Whether the tables give the pair two donors, so that a split could part it."""
    return bool(finding.sample_b) and donors[finding.sample_a] != donors[finding.sample_b]


def joining(findings: Iterable[Finding], minimum_confidence: str = "strong") -> list[Finding]:
    """The pairs sure enough to keep their donors together."""
    least = CONFIDENCE.index(minimum_confidence)
    return [one for one in findings if one.sample_b and CONFIDENCE.index(one.confidence) >= least]


def donor_groups(
    donors: Mapping[str, str], findings: Iterable[Finding], minimum_confidence: str = "strong"
) -> dict[str, str]:
    """Donor -> group: donors that a finding joins must stay on one side of a split.

    Parameters
    ----------
    donors
        Sample -> donor, as the tables have it.
    findings
        Pairs; those below the minimum confidence join nothing.

    Returns
    -------
    dict
        Donors joined with others map to all their names joined by `+`, the others to themselves.
    """
    names = sorted(set(donors.values()))
    number = {name: index for index, name in enumerate(names)}
    edges = [
        (number[donors[one.sample_a]], number[donors[one.sample_b]]) for one in joining(findings, minimum_confidence)
    ]
    rows, columns = (np.array([edge[side] for edge in edges], dtype=int) for side in (0, 1))
    graph = coo_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    members: dict[int, list[str]] = defaultdict(list)
    for name, label in zip(names, labels.tolist(), strict=True):
        members[label].append(name)
    return {name: "+".join(members[label]) for name, label in zip(names, labels.tolist(), strict=True)}


def table(findings: Iterable[Finding], donors: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of `identity.csv`."""
    return [
        {
            **{name: getattr(one, name) for name in COLUMNS if hasattr(one, name)},
            "donor_a": donors[one.sample_a],
            "donor_b": donors.get(one.sample_b, ""),
            "leaks": "yes" if leaks(one, donors) else "no",
        }
        for one in findings
    ]
