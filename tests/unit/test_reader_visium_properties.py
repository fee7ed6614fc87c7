"""The Visium join for any order, any missing and extra rows, any suffix: by barcode, counted, never by position."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spotweave.deposits.raw import RawFile
from spotweave.matrices import barcodes
from spotweave.readers.visium import read as visium
from spotweave.simulate import visium as simulated
from spotweave.simulate.count_files import stacked, write_h5_layout_3, write_mex
from spotweave.simulate.visium_files import HEADER, position_rows, write_positions

TRUTH = simulated.draw_truth(2)
SPOTS = 40
OWN = replace(
    TRUTH,
    barcodes=TRUTH.barcodes[:SPOTS],
    array=TRUTH.array[:SPOTS],
    pixels=TRUTH.pixels[:SPOTS],
    in_tissue=np.ones(SPOTS, dtype=np.int64),
    counts=TRUTH.counts[TRUTH.tissue[1 : SPOTS + 1]],
)
spots = st.permutations(range(SPOTS)).map(np.array)
some = st.sets(st.integers(0, SPOTS - 1), min_size=1).flatmap(lambda chosen: st.permutations(sorted(chosen)))
affixes = st.tuples(
    st.sampled_from(["", "A1_", "P12_A1_", "sample.1:", "GSM1#"]),
    st.sampled_from(["", "-1", "_1", ".1", "-1_1", "-1-0"]),
)
careful = settings(max_examples=25, deadline=None, derandomize=True)


@careful
@given(counted=some, placed=some, around=affixes, there=affixes, extra=st.integers(0, 3), has_header=st.booleans())
def test_counts_and_positions_are_joined_by_barcode(
    counted: list[int],
    placed: list[int],
    around: tuple[str, str],
    there: tuple[str, str],
    extra: int,
    has_header: bool,
) -> None:
    both = sorted(set(counted) & set(placed))
    if not both:
        return
    block = simulated.block_of(OWN, np.array(counted), *around)
    strangers = [f"{around[0]}{letter * 16}{around[1]}" for letter in "ACG"[:extra]]
    block = replace(
        block,
        units=[*strangers, *block.units],
        counts=np.concatenate([np.full((extra, block.counts.shape[1]), 9), block.counts]),
    )
    rows = position_rows(OWN, np.array(placed), *there)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "counts": write_h5_layout_3(Path(folder) / "c.h5", block),
            "spots": write_positions(Path(folder) / "s.csv", rows, HEADER if has_header else None),
        }
        reading = visium.read({role: RawFile(path.name, path) for role, path in files.items()})
    names = [f"{OWN.barcodes[spot]}-1" for spot in both]
    adata, report = reading.adata, reading.report
    assert list(adata.obs_names) == names  # the truth's spots are in the order of the array
    assert (adata.X.toarray() == OWN.counts[both]).all()
    assert adata.obs["array_row"].tolist() == OWN.array[both, 0].tolist()
    assert adata.obs["x_px"].tolist() == OWN.pixels[both, 1].tolist()
    assert report["counts_without_spot"] == extra + len(set(counted) - set(placed))
    assert report["spots_without_counts"] == len(set(placed) - set(counted))
    assert report["rows_in_counts"] == extra + len(counted)
    assert len(reading.spots) == report["rows_in_spots"] == len(placed)


@careful
@given(order=spots, names=st.lists(st.sampled_from(["TBCE", "A", "B", "HLA-A"]), min_size=6, max_size=6))
def test_genes_that_share_a_name_keep_their_own_counts(order: np.ndarray, names: list[str]) -> None:
    block = simulated.block_of(OWN, order)
    block = replace(
        block,
        counts=block.counts[:, :6],
        names=names,
        ids=block.ids[:6],
        types=block.types[:6],
        genomes=block.genomes[:6],
    )
    with tempfile.TemporaryDirectory() as folder:
        files = write_mex(Path(folder), block)
        files["spots"] = write_positions(Path(folder) / "s.csv", position_rows(OWN, order))
        adata = visium.read({role: RawFile(path.name, path) for role, path in files.items()}).adata
    assert adata.var_names.is_unique
    assert adata.var["gene_id"].tolist() == OWN.ids[:6]
    assert (adata.X.toarray() == OWN.counts[:, :6]).all()


@careful
@given(core=st.text("ACGT", min_size=16, max_size=16), around=affixes)
def test_a_barcode_is_found_in_any_name(core: str, around: tuple[str, str]) -> None:
    parsed = barcodes.parse([f"{around[0]}{core}{around[1]}"])
    assert (parsed.before, parsed.core, parsed.after) == ([around[0]], [core], [around[1]])
    assert barcodes.canonical(core) == f"{core}-1"


@careful
@given(
    labels=st.lists(
        st.text("ABCXYZ123", min_size=1, max_size=6), min_size=2, max_size=4, unique_by=lambda label: label.strip("_")
    )
)
def test_a_sample_of_a_joint_matrix_is_found_by_its_prefix(labels: list[str]) -> None:
    chosen = labels[-1]
    samples = [replace(OWN, counts=OWN.counts % 50 + number) for number in range(len(labels))]
    blocks = [
        simulated.block_of(sample, np.arange(SPOTS), f"{label}_") for sample, label in zip(samples, labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "counts": write_h5_layout_3(Path(folder) / "c.h5", stacked(*blocks)),
            "spots": write_positions(Path(folder) / "s.csv", position_rows(OWN, np.arange(SPOTS))),
        }
        raws = {role: RawFile(path.name, path) for role, path in files.items()}
        adata = visium.read(raws, member=chosen).adata
    assert (adata.X.toarray() == samples[-1].counts).all()
