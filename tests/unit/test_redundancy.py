"""What a deposit says twice, held against itself: planted contradictions are counted and flagged, no others."""

import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.sparse import csr_matrix

from spotweave import readers
from spotweave.align import lattice
from spotweave.deposits import redundancy
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.pictures.png_rows import check_png_rows
from spotweave.simulate import st_v1_layouts, visium, visium_layouts, xenium, xenium_layouts

PITCH_UM = np.array([50.0, 87.0])


def read(name, files):
    return readers.read_sample(name, {role: RawFile(path.name, path) for role, path in files.items()}).report


def codes(report):
    return [flag.partition(":")[0] for flag in report["data_flags"]]


@pytest.fixture
def slide(tmp_path):
    """A whole array: files by role, and its positions as a table to change."""
    files = visium_layouts.VARIANTS["space_ranger_2"].write(tmp_path, visium.draw_truth(whole_array=True))
    return files, pd.read_csv(files["spots"])


def changed(slide, change):
    files, table = slide
    change(table).to_csv(files["spots"], index=False)
    return read("visium", files)


def test_a_whole_slide_contradicts_itself_nowhere(slide):
    report = read("visium", slide[0])
    assert report["data_flags"] == []
    assert (report["counts_off_tissue"], report["array_places_missing"]) == (0, 0)


def test_a_row_missing_off_the_tissue_leaves_the_array_incomplete(slide):
    report = changed(slide, lambda table: table.drop(table.index[table["in_tissue"] == 0][:3]))
    assert report["array_places_missing"] == 3
    assert codes(report) == ["array-incomplete"]


def test_a_row_missing_in_tissue_leaves_counts_without_a_position(slide):
    report = changed(slide, lambda table: table.drop(table.index[table["in_tissue"] == 1][:1]))
    assert report["counts_without_spot"] == 1
    assert codes(report) == ["counts-without-position", "array-incomplete"]


@pytest.mark.parametrize(("was", "code"), [(0, "tissue-without-counts"), (1, "counts-off-tissue")])
def test_the_tissue_of_the_positions_is_the_set_of_a_filtered_matrix(slide, was, code):
    def flip(table):
        table.loc[table.index[table["in_tissue"] == was][:2], "in_tissue"] = 1 - was
        return table

    report = changed(slide, flip)
    assert codes(report) == [code]
    assert ": 2 " in report["data_flags"][0]


def test_a_raw_matrix_holds_spots_off_the_tissue_rightly():
    in_tissue = np.repeat([1, 0], [60, 40])
    assert redundancy.counts_off_tissue(in_tissue, np.arange(100)) == 0
    assert redundancy.counts_off_tissue(in_tissue, np.arange(95)) == 0
    assert redundancy.counts_off_tissue(in_tissue, np.arange(65)) == 5
    assert redundancy.counts_off_tissue(in_tissue, np.arange(60)) == 0


def test_a_table_of_spots_in_tissue_need_not_list_the_array():
    assert redundancy.places_missing(np.ones(30, int), 4992) == 0
    assert redundancy.places_missing(np.repeat([1, 0], [29, 1]), 4992) == 4962


@pytest.mark.parametrize(("column", "by"), [("pixel_x", 400.0), ("new_x", 1.0), ("x", 40)])
def test_the_three_places_of_an_st_spot_are_one(tmp_path, column, by):
    files = st_v1_layouts.VARIANTS["selection"].write(tmp_path, st_v1_layouts.draw_truth())
    assert read("st_v1", files)["places_apart"] == 0
    table = pd.read_csv(files["spots"], sep="\t")
    table[column] = table[column].astype(float if column != "x" else int)
    table.loc[5, column] += by
    table.to_csv(files["spots"], sep="\t", index=False)
    report = read("st_v1", files)
    assert report["places_apart"] == 1
    assert "places-apart" in codes(report)


def test_the_manifest_counts_the_cells(tmp_path):
    files = xenium_layouts.VARIANTS["xoa_3_0"].write(tmp_path, xenium.draw_truth())
    assert read("xenium", files)["data_flags"] == []
    cells = pd.read_parquet(files["cells"])
    cells.iloc[:-1].to_parquet(files["cells"])
    assert {"counts-without-position", "cells-in-manifest"} <= set(codes(read("xenium", files)))


def test_genes_that_come_again_are_told_from_those_that_share_a_name():
    counts = csr_matrix(np.array([[1, 1, 0, 0, 2, 3], [4, 4, 0, 0, 5, 5]]))
    names = ["A", "A-1", "B", "B-1", "C", "C-1"]  # twice the same counts; never counted; two genes of one name
    found = redundancy.of_genes(names, ["E1", "E2", "E3", "E3", "", "E6"], counts)
    assert found == {"gene_ids_twice": 1, "genes_twice": 1, "gene_names_numbers": 0, "genes_without_id": 1}
    assert redundancy.of_genes(["nan", "7", "7SK", "H2-K1"], [""] * 4, counts[:, :4])["gene_names_numbers"] == 2


def test_optional_files_passed_over_and_cells_of_the_manifest_are_said():
    report = {"unit": "cell", "rows_in_spots": 10, "cells_in_manifest": 12, "optional_files_passed_over": ["s: cut"]}
    assert redundancy.flags(report) == [
        "cells-in-manifest: the table of cells lists 10, the manifest 12",
        "optional-file: s: cut",
    ]


def array(side=20):
    row, col = (axis.ravel() for axis in np.mgrid[:side, :side])
    places = np.column_stack([2 * col + row % 2, row]) * PITCH_UM
    matrix = np.array([[1.2, -0.3, 500], [0.3, 1.2, 900], [0, 0, 1.0]])
    return places, apply(matrix, places)


def test_moved_spots_are_told_and_no_other():
    places, xy_px = array()
    assert not lattice.off_lattice(places, xy_px, 50.0).any()
    for far_um, told in ((49.0, 0), (52.0, 3), (1e5, 3)):
        moved = xy_px.copy()
        moved[[3, 77, 200]] += np.array([far_um / np.hypot(1.2, 0.3) ** -1, 0.0])
        moved[9] = np.nan
        found = lattice.off_lattice(places, moved, 50.0)
        assert np.flatnonzero(found).tolist() == [3, 77, 200][:told]


def test_more_than_the_share_off_the_lattice_is_refused_with_the_share():
    known = np.ones(100, bool)
    lattice.check_off_lattice(np.arange(100) < 2, known, 50.0, 0.02)
    with pytest.raises(Refusal, match=r"3 of 100 spots \(3\.0%\) lie over 50 um off the lattice") as caught:
        lattice.check_off_lattice(np.arange(100) < 3, known, 50.0, 0.02)
    assert (caught.value.measured, caught.value.threshold) == (0.03, 0.02)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "P"])
def test_a_png_holds_the_rows_it_announces(tmp_path, mode):
    path = tmp_path / "a.png"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 903, 3), dtype=np.uint8)).convert(mode)
    picture.save(path)
    check_png_rows(path)
    data = bytearray(path.read_bytes())
    data[20:24] = struct.pack(">I", 699)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    with pytest.raises(Refusal, match=r"a\.png: 903 x 699 px by its header, and it holds more"):
        check_png_rows(path)
