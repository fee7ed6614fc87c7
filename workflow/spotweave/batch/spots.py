"""The spots that are looked at: of which samples, chosen by which nuclei, and their expression of the listed genes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from spotweave import h5ad
from spotweave.batch.settings import Settings
from spotweave.expression.gene_names import meeting_names
from spotweave.expression.scales import log_share
from spotweave.io import read_json
from spotweave.nuclei.spots import COUNT, share_name

LISTED_SHARE_MIN = 0.5  # of the listed genes; a sample with fewer would take too many from all others
COLUMNS = ("sample_id", "spots_in_tissue", "spots_chosen", "spots_used", "chosen_by", "genes_missing", "left_out")
ALL_SPOTS = "all spots: no class of nuclei is known"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Looked:
    """What is looked at.

    Attributes
    ----------
    values
        (N, G) float64, ln(1 + 10^4 count / total).
    samples
        (N,) sample of each spot.
    genes
        G names: of the list, those that every used sample has and in which not all values of each sample are the same.
    table
        A row of `COLUMNS` for each sample.
    """

    values: Array
    samples: NDArray[np.str_]
    genes: list[str]
    table: list[dict[str, Any]]


@dataclass
class _Sample:
    """A sample's chosen spots: (n, g) `values` of its `genes`, and its row of the table."""

    row: dict[str, Any]
    genes: list[str] = field(default_factory=list)
    values: Array = field(default_factory=lambda: np.zeros((0, 0)))


def accepted_rows(shards: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Sample id -> its row of the cohort table, with `cohort`: the accepted samples of files of `assemble_cohort`."""
    entries = [entry for shard in shards for entry in read_json(shard)["samples"]]
    return {entry["sample_id"]: entry["row"] for entry in entries if entry["refusal"] is None}


def look(files: Mapping[str, Path], listed: Sequence[str], settings: Settings, seed: int) -> Looked:
    """Read the spots of all samples.

    Parameters
    ----------
    files
        Sample id -> `st_nuclei.h5ad`, or `st.h5ad` where no nuclei are looked for.
    listed
        Names of genes. Samples that name a gene otherwise are met by its id (`gene_names.meeting_names`).
    seed
        Of the spots that are drawn where there are more than `spots_max`.
    """
    found = _all_genes(files, listed)
    most = max(settings.spots_max // max(len(files), 1), settings.spots_min)
    read = [_read(name, files[name], found[name], listed, settings, most, seed) for name in files]
    used = [one for one in read if not one.row["left_out"]]
    common = [gene for gene in listed if used and all(gene in one.genes for one in used)]
    parts = [one.values[:, [one.genes.index(gene) for gene in common]] for one in used]
    names = np.repeat([str(one.row["sample_id"]) for one in used], [len(part) for part in parts])
    table = [one.row for one in read]
    if not parts:
        return Looked(np.zeros((0, 0)), names, [], table)
    says = np.max([np.ptp(part, axis=0) for part in parts], axis=0) > 0
    kept = [gene for gene, some in zip(common, says.tolist(), strict=True) if some]
    return Looked(np.concatenate(parts)[:, says], names, kept, table)


def _all_genes(files: Mapping[str, Path], listed: Sequence[str]) -> dict[str, dict[str, int]]:
    """Sample -> listed gene -> its column, genes of the same id met under one name."""
    names, ids = {}, {}
    for sample, path in files.items():
        with h5py.File(path) as file:
            names[sample] = h5ad.names(file["var"]).tolist()
            known = h5ad.has_column(file["var"], "gene_id")
            ids[sample] = (
                h5ad.column(file["var"], "gene_id").astype(str).tolist() if known else [""] * len(names[sample])
            )
    wanted = set(listed)
    their_ids = {
        gene_id for name in files for gene, gene_id in zip(names[name], ids[name], strict=True) if gene in wanted
    } - {""}
    columns = {
        name: [
            at
            for at, (gene, gene_id) in enumerate(zip(names[name], ids[name], strict=True))
            if gene in wanted or gene_id in their_ids
        ]
        for name in files
    }
    met = meeting_names(
        [[names[name][at] for at in columns[name]] for name in files],
        [[ids[name][at] for at in columns[name]] for name in files],
    )
    return {
        name: {gene: at for gene, at in zip(own, columns[name], strict=True) if gene in wanted}
        for name, own in zip(files, met, strict=True)
    }


def _read(
    sample: str, path: Path, columns: Mapping[str, int], listed: Sequence[str], settings: Settings, most: int, seed: int
) -> _Sample:
    missing = [gene for gene in listed if gene not in columns]
    row: dict[str, Any] = {"sample_id": sample, "genes_missing": " ".join(missing), "left_out": ""}
    with h5py.File(path) as file:
        in_tissue = np.flatnonzero(h5ad.column(file["obs"], "in_tissue").astype(int) == 1)
        chosen, row["chosen_by"] = _chosen(file["obs"], in_tissue, settings)
        row |= {"spots_in_tissue": len(in_tissue), "spots_chosen": len(chosen), "spots_used": 0}
        if len(missing) > (1 - LISTED_SHARE_MIN) * len(listed):
            row["left_out"] = f"it has {len(columns)} of {len(listed)} listed genes, fewer than half"
        elif len(chosen) < settings.spots_min:
            row["left_out"] = f"{len(chosen)} spots are chosen, {settings.spots_min} are needed"
        if row["left_out"]:
            return _Sample(row)
        counts = scipy.sparse.csr_matrix(h5ad.counts(file)[chosen], dtype=np.float64)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    counted = np.flatnonzero(totals > 0)
    rng = np.random.default_rng([seed, zlib.crc32(sample.encode())])
    drawn = counted if len(counted) <= most else np.sort(rng.choice(counted, most, replace=False))
    if len(drawn) < settings.spots_min:
        return _Sample({**row, "left_out": f"{len(drawn)} chosen spots have counts, {settings.spots_min} are needed"})
    row["spots_used"] = len(drawn)
    genes = list(columns)
    values = log_share(counts[drawn][:, [columns[gene] for gene in genes]].toarray(), totals[drawn])
    return _Sample(row, genes, values)


def _chosen(obs: h5py.Group, in_tissue: NDArray[np.intp], settings: Settings) -> tuple[NDArray[np.intp], str]:
    """The chosen spots, and what chose them."""
    share = share_name(settings.nuclei_class)
    if not h5ad.has_column(obs, share):
        return in_tissue, ALL_SPOTS
    # NaN, of spots without nuclei, is above no share.
    shares, nuclei = (h5ad.column(obs, name)[in_tissue] for name in (share, COUNT))
    many = np.rint(np.nan_to_num(shares * nuclei))
    return in_tissue[(shares > settings.share_min) & (many >= settings.nuclei_min)], settings.nuclei_class
