"""Pairs of samples that are not two: found in the counts and the pictures, or known from the literature."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spotweave.identity import picture, places
from spotweave.identity.expression import containments
from spotweave.io import read_json

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


class Sketched(NamedTuple):
    """A kind of sketch: where the size of its whole set is, least shares by confidence, least shared hashes."""

    size: str
    same: dict[str, float]
    least_shared: int


# Share of the smaller sketch from which on a pair is called one, and how many hashes must be shared. Genes: the spots
# are the same. Counts at their places: one is a part of the other or, less alike, the same reads were counted anew.
SKETCHES = {
    "genes": Sketched("genes_informative", {"certain": 0.5, "strong": 0.05}, 8),
    "spots": Sketched("entries", {"certain": 0.8, "strong": 0.3}, 20),
}
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
        Sample -> fingerprint (`expression`: a sketch, `picture`: hashes). Each is looked up once and not kept, so a
        mapping that reads files needs little more memory than one sketch of each sample in 8 bytes a hash.
    """
    names = sorted(prints)
    sketches: dict[str, list[NDArray[np.int64]]] = {kind: [] for kind in SKETCHES}
    sizes: dict[str, list[int]] = {kind: [] for kind in SKETCHES}
    hashes: dict[str, list[str]] = {kind: [] for kind in PICTURE_SAME}
    with tempfile.TemporaryFile(buffering=0) as file:
        kept = places.Kept(file)
        for name in names:
            one = prints[name]
            expression = one["expression"]
            for kind, rules in SKETCHES.items():
                sketches[kind].append(np.array(expression[kind], dtype=np.int64))
                sizes[kind].append(expression[rules.size])
            for kind in PICTURE_SAME:
                hashes[kind].append(one["picture"][kind])
            kept.add(expression["places"])
        found = [
            *(one for kind in SKETCHES for one in _by_counts(names, kind, sketches.pop(kind), sizes[kind])),
            *(
                Finding(names[first], names[second], "same_sample", "strong", "reads", round(index, 4), number)
                for first, second, index, number in kept.shared_reads()
            ),
            *_by_pictures(names, hashes),
        ]
    return sorted(found, key=lambda one: (one.sample_a, one.sample_b, one.found_by))


class Files(Mapping[str, Any]):
    """Sample -> fingerprint, read from its file whenever it is asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, sample: str) -> Any:
        return read_json(self._paths[sample])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _by_pictures(names: Sequence[str], hashes: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Pairs of one picture, by the hash that shows it more clearly."""
    best: dict[tuple[int, int], float] = {}
    for kind, limit in PICTURE_SAME.items():
        for first, second, distance in picture.close_pairs(hashes[kind], limit):
            best[first, second] = min(best.get((first, second), 1.0), distance)
    return [
        Finding(names[first], names[second], "same_image", "strong", "picture", round(share, 4))
        for (first, second), share in sorted(best.items())
    ]


def _by_counts(
    names: Sequence[str], kind: str, sketches: Sequence[NDArray[np.int64]], sizes: Sequence[int]
) -> list[Finding]:
    """Pairs of one sample, by one kind of sketch."""
    rules = SKETCHES[kind]
    found = []
    for first, second, share, shared in containments(sketches, sizes, rules.least_shared):
        confidence = next((sure for sure, limit in rules.same.items() if share >= limit), None)
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
