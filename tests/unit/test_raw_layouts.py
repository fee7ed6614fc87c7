"""Raw layouts: names of real deposits get the right roles, whatever surrounds them; doubt is reported, not settled."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from real_data import NOT_HERE, SHARED
from spotweave import readers
from spotweave.intake.layouts import assign, matches
from spotweave.intake.recognise import recognise
from spotweave.readers import layout

ROLES = {name: layout(name).roles for name in readers.READERS.names()}

VISIUM_V1 = {
    "counts": "filtered_feature_bc_matrix.h5",
    "spots": "spatial/tissue_positions_list.csv",
    "scalefactors": "spatial/scalefactors_json.json",
    "hires_image": "spatial/tissue_hires_image.png",
    "image": "image.tif",
}
MEX = {
    "counts": "filtered_feature_bc_matrix/matrix.mtx",
    "features": "filtered_feature_bc_matrix/features.tsv",
    "barcodes": "filtered_feature_bc_matrix/barcodes.tsv",
}
GEO = {
    "counts": "matrix.mtx",
    "features": "features.tsv",
    "barcodes": "barcodes.tsv",
    "spots": "tissue_positions_list.csv",
    "scalefactors": "scalefactors_json.json",
    "hires_image": "tissue_hires_image.png",
    "image": "HE.tif",
}
CYTASSIST = {
    "counts": "filtered_feature_bc_matrix.h5",
    "spots": "spatial/tissue_positions.csv",
    "scalefactors": "spatial/scalefactors_json.json",
    "image": "tissue_image.tif",
    "cytassist_image": "image.tif",
    "alignment": "alignment_file.json",
}
UM = ("002", "008", "016")
BIN = "binned_outputs/square_016um"
VISIUM_HD = {
    "counts": f"{BIN}/filtered_feature_bc_matrix.h5",
    "spots": f"{BIN}/spatial/tissue_positions.parquet",
    "scalefactors": f"{BIN}/spatial/scalefactors_json.json",
    "cell_segmentations": "segmented_outputs/cell_segmentations.geojson",
    "barcode_mappings": "barcode_mappings.parquet",
    "image": "tissue_image.btf",
    "cytassist_image": "image.tif",
}
XENIUM = {
    "counts": "cell_feature_matrix.h5",
    "cells": "cells.parquet",
    "experiment": "experiment.xenium",
    "transcripts": "transcripts.parquet",
    "cell_boundaries": "cell_boundaries.parquet",
    "nucleus_boundaries": "nucleus_boundaries.parquet",
    "alignment": "he_imagealignment.csv",
    "image": "he_image.ome.tif",
    "morphology": "morphology_focus/morphology_focus_0000.ome.tif",
}
SPOT_DETECTOR = {"counts": "stdata.tsv", "spots": "spot_data-selection-P2_ST_rep1.tsv", "image": "P2_ST_rep1.jpg"}
HE_2020 = {"counts": "BC1_C1_stdata.tsv", "spots": "spots_BC1_C1.csv", "image": "HE_BC1_C1.jpg"}
ALS = {
    "counts": "CN51_C2_1_stdata_aligned_counts_IDs.txt",
    "spots": "CN51_C2_1_selection.tsv",
    "image": "CN51_C2_1_HE.jpg",
}
HER2ST = {
    "counts": "ST-cnts/A1.tsv",
    "spots": "ST-spotfiles/A1_selection.tsv",
    "image": "ST-imgs/A/A1/BT10737_D2_HE.jpg",
}
# reader, what it is, what stands beside it
LAYOUTS = {
    "visium v1": ("visium", VISIUM_V1, ["raw_feature_bc_matrix.h5", *MEX.values()]),
    "visium mex": ("visium", {**VISIUM_V1, **MEX}, ["raw_feature_bc_matrix/matrix.mtx"]),
    "visium geo": ("visium", GEO, ["tissue_lowres_image.png", "aligned_fiducials.jpg", "detected_tissue_image.jpg"]),
    "cytassist": ("visium", CYTASSIST, ["raw_feature_bc_matrix.h5", "spatial/aligned_tissue_image.jpg"]),
    "visium hd": (
        "visium_hd",
        VISIUM_HD,
        [one.replace("016um", other) for one in VISIUM_HD.values() if BIN in one for other in ("002um", "008um")],
    ),
    "xenium": (
        "xenium",
        XENIUM,
        ["if_image.ome.tif", "if_imagealignment.csv", "morphology.ome.tif", "cells.csv"],
    ),
    "st spot detector": ("st_v1", SPOT_DETECTOR, ["spot_data-all-P2_ST_rep1.tsv"]),
    "st he 2020": ("st_v1", HE_2020, ["BC1_C1_Coords.tsv", "metadata.csv"]),
    "st als": ("st_v1", ALS, ["CN51_C2_1.tsv"]),
    "st her2st": ("st_v1", HER2ST, ["ST-pat/lbl/A1_labeled_coordinates.tsv"]),
}
UNRELATED = [
    "README.txt",
    "LICENSE",
    "filelist.txt",
    "md5sums.txt",
    "web_summary.html",
    "cloupe.cloupe",
    "molecule_info.h5",
    "metrics_summary.csv",
    "reads_S1_L001_R1_001.fastq",
    "possorted_genome_bam.bam",
    "analysis/clustering/graphclust/clusters.csv",
    "analysis/umap/projection.csv",
    "object.rds",
    "figures.pdf",
    ".DS_Store",
    "__MACOSX/._image.tif",
    "fastqs.tar",
    "X_analysis.tar",
]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@every_layout
def test_each_layout_gets_its_roles(layout: str) -> None:
    reader, roles, beside = LAYOUTS[layout]
    found = assign([*roles.values(), *beside], reader)
    assert found.roles == roles
    assert not found.missing and not found.ambiguous and not found.archives
    assert set(found.why) == set(roles) and all(found.why.values())
    assert set(found.unused) == set(beside)


@every_layout
def test_each_layout_is_recognised_by_its_most_telling_name(layout: str) -> None:
    reader, roles, beside = LAYOUTS[layout]
    found = recognise([*roles.values(), *beside])
    assert found.reader == reader
    assert any(name in found.why for name in (*roles.values(), *beside))


@every_layout
@given(
    prefix=st.sampled_from(
        ["", "GSM5732357_A_", "Xenium_V1_FFPE_Preview_Human_", "S1/outs/", "My data/P 1/", "V10-1."]
    ),
    upper=st.booleans(),
    packed=st.booleans(),
    unrelated=st.lists(st.sampled_from(UNRELATED), unique=True),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_what_copies_add_changes_nothing(layout, prefix, upper, packed, unrelated, random) -> None:
    reader, roles, beside = LAYOUTS[layout]

    def copied(name: str) -> str:
        folder, slash, last = name.rpartition("/")
        text = prefix + name if "/" in prefix else f"{folder}{slash}{prefix}{last}"
        return (text.upper() if upper else text) + (".gz" if packed else "")

    names = [copied(name) for name in (*roles.values(), *beside, *unrelated)]
    random.shuffle(names)
    if "filtered_feature_bc_matrix/matrix.mtx" in roles.values() and prefix and "/" not in prefix:
        return  # no copy puts a prefix into the folder of a triplet
    found = assign(names, reader)
    assert found.roles == {role: copied(name) for role, name in roles.items()}
    assert not found.missing and not found.ambiguous and not found.archives
    assert recognise(names).reader == reader


@every_layout
def test_a_lost_file_is_missing_and_nothing_takes_its_place(layout: str) -> None:
    reader, roles, _ = LAYOUTS[layout]
    for role in {*ROLES[reader].needed, *ROLES[reader].either} & set(roles):
        if (layout, role) == ("cytassist", "image"):
            continue  # by names alone, what is left is a sample of direct placement
        found = assign([name for other, name in roles.items() if other != role], reader)
        assert role in found.missing, (role, found)


@every_layout
def test_two_samples_in_one_listing_are_ambiguous_with_all_names(layout: str) -> None:
    reader, roles, _ = LAYOUTS[layout]
    found = assign([f"{sample}/{name}" for sample in ("S1", "S2") for name in roles.values()], reader)
    assert not found.missing
    for role in {*ROLES[reader].needed, *ROLES[reader].either} & set(roles):
        assert found.ambiguous[role] == (f"S1/{roles[role]}", f"S2/{roles[role]}")
        assert role not in found.roles


@given(st.lists(st.text("aA1_/.-gzcsvtiftarx5h ", min_size=1, max_size=30)), st.sampled_from(sorted(ROLES)))
@settings(max_examples=150, deadline=None)
def test_every_name_is_accounted_for_exactly_once(names: list[str], reader: str) -> None:
    found = assign(names, reader)
    parts = [*found.roles.values(), *found.archives, *(one for many in found.ambiguous.values() for one in many)]
    if found.roles.get("spots") == found.roles.get("counts"):
        parts = list(dict.fromkeys(parts))
    assert sorted([*parts, *found.unused]) == sorted(set(names))
    assert set(found.roles) | set(found.missing) | set(found.ambiguous) >= set(ROLES[reader].needed)


COUNTS_FROM_BEST = [
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix/matrix.mtx.gz",
    "raw_feature_bc_matrix.h5",
    "raw_feature_bc_matrix/matrix.mtx.gz",
    "A1.h5ad",
    "A1.h5",
    "A1_counts.csv.gz",
]


@pytest.mark.parametrize("best", range(len(COUNTS_FROM_BEST)))
def test_filtered_counts_come_before_raw_hdf5_before_market_exchange_before_tables(best: int) -> None:
    triplets = [name.replace("matrix.mtx", part) for name in COUNTS_FROM_BEST[best:] if name.endswith("mtx.gz")
                for part in ("barcodes.tsv", "features.tsv")]  # fmt: skip
    assert assign([*COUNTS_FROM_BEST[best:], *triplets], "visium").roles["counts"] == COUNTS_FROM_BEST[best]


SPOTS_FROM_BEST = ["tissue_positions.parquet", "tissue_positions.csv", "tissue_positions_list.csv"]


@pytest.mark.parametrize("best", range(len(SPOTS_FROM_BEST)))
def test_positions_with_a_header_come_before_the_list_without(best: int) -> None:
    assert assign(SPOTS_FROM_BEST[best:], "visium").roles["spots"] == SPOTS_FROM_BEST[best]


ST_SPOTS_FROM_BEST = [
    "spot_data-selection-A1.tsv.gz",
    "A1_selection.tsv",
    "spot_data-all-A1.tsv.gz",
    "spots_A1.csv",
    "A1_Coords.tsv",
]


@pytest.mark.parametrize("best", range(len(ST_SPOTS_FROM_BEST)))
def test_a_selection_comes_before_all_spots_before_coordinates(best: int) -> None:
    assert assign(ST_SPOTS_FROM_BEST[best:], "st_v1").roles["spots"] == ST_SPOTS_FROM_BEST[best]


@pytest.mark.parametrize(
    "prefix", ["GSM1_A_", "GSM1_A.", "GSM1_raw_feature_bc_matrix_", "filtered_gene_bc_matrices/GRCh38/", ""]
)
@pytest.mark.parametrize("genes", ["features.tsv.gz", "genes.tsv"])
def test_a_triplet_shares_folder_and_prefix(prefix: str, genes: str) -> None:
    own = [f"{prefix}matrix.mtx.gz", f"{prefix}{genes}", f"{prefix}barcodes.tsv.gz"]
    others = ["other/features.tsv.gz", "GSM2_B_barcodes.tsv.gz", "GSM2_B_features.tsv.gz"]
    roles = assign([*others, *own], "visium").roles
    assert [roles["counts"], roles["features"], roles["barcodes"]] == own


def test_a_label_behind_the_names_of_a_triplet_counts_as_prefix() -> None:
    own = ["GSM1_matrix_A1.mtx.gz", "GSM1_features_A1.tsv.gz", "GSM1_barcodes_A1.tsv.gz"]
    roles = assign([*own, "GSM1_features_B1.tsv.gz"], "visium").roles
    assert [roles["counts"], roles["features"], roles["barcodes"]] == own


def test_a_matrix_without_its_lists_gives_way_to_a_whole_one() -> None:
    names = ["filtered_feature_bc_matrix/matrix.mtx.gz", "raw_feature_bc_matrix.h5"]
    assert assign(names, "visium").roles["counts"] == "raw_feature_bc_matrix.h5"
    alone = assign(names[:1], "visium")
    assert alone.roles == {"counts": names[0]} and "alone" in alone.why["counts"]


@pytest.mark.parametrize(
    "name",
    [
        "spatial/tissue_hires_image.png",
        "GSM1_A_tissue_lowres_image.png.gz",
        "tissue_hires_image_A1.png",
        "spatial/aligned_fiducials.jpg",
        "spatial/detected_tissue_image.jpg",
        "spatial/aligned_tissue_image.jpg",
        "spatial/cytassist_image.tiff",
        "A1_CytAssist.tif",
        "spatial/spatial_enrichment.png",
        "morphology.ome.tif",
        "morphology_mip.ome.tif",
        "morphology_focus/ch0000_dapi.ome.tif",
        "morphology_focus/morphology_focus_0001.ome.tif",
        "X_if_image.ome.tif",
        "A1_masked.jpg",
        "A1_thumbnail.png",
        "A1_DAPI.tif",
        "A1_mask_image.tif",
        "A1_HE_lowres.jpg",
        "analysis/umap.png",
        "__MACOSX/._A1.tif",
    ],
)
@pytest.mark.parametrize("reader", sorted(ROLES))
def test_pictures_made_of_the_slide_are_never_the_slide(name: str, reader: str) -> None:
    found = assign([name], reader)
    assert "image" in found.missing
    assert assign([name, "A1_HE.tif"], reader).roles["image"] == "A1_HE.tif"


@pytest.mark.parametrize(
    "name",
    [
        "X_tissue_image.btf",
        "151507_full_image.tif",
        "V1_fullres.tif.gz",
        "P15509_1001_HE.tif",
        "HE_Rep1.jpg",
        "Histological_images/Patient_1/Visium/H1_2.jpg",
        "SN124_A938797_Rep2.tif",
        "scan 7.ndpi",
        "Xenium_V1_FFPE_Preview_Human_Breast_Cancer_Sample_2_he_image.ome.tif",
    ],
)
@pytest.mark.parametrize("reader", sorted(ROLES))
def test_names_under_which_authors_file_their_slides(name: str, reader: str) -> None:
    assert assign([name, "tissue_hires_image.png"], reader).roles["image"] == name


def test_direct_placement_has_only_an_image_and_cytassist_two() -> None:
    assert assign(["X_image.jpg"], "visium").roles == {"image": "X_image.jpg"}
    both = assign(["X_image.tif", "X_tissue_image.btf"], "visium").roles
    assert both == {"image": "X_tissue_image.btf", "cytassist_image": "X_image.tif"}
    # An HD sample without its tissue image: the instrument's picture must not stand in.
    alone = assign(["X_image.tif"], "visium_hd")
    assert alone.roles == {"cytassist_image": "X_image.tif"} and "image" in alone.missing


def test_of_one_picture_in_several_formats_the_one_that_keeps_most_is_taken() -> None:
    from_best = ["ome.tif", "tif", "btf", "ndpi", "jpg", "png"]
    for best in range(len(from_best)):
        names = [f"A1_image.{suffix}" for suffix in from_best[best:]]
        assert assign(names, "visium").roles["image"] == f"A1_image.{from_best[best]}"


def test_several_pictures_that_could_be_the_slide_are_all_named() -> None:
    found = assign(["left.tif", "right.tif", "A1_filtered_feature_bc_matrix.h5"], "visium")
    assert found.ambiguous == {"image": ("left.tif", "right.tif")}
    assert "image" not in found.roles and "image" not in found.missing and found.missing == ("spots",)
    assert not found.archives


def test_a_packed_copy_beside_the_file_is_no_second_candidate() -> None:
    assert assign(["A1_HE.jpg", "A1_HE.jpg.gz"], "visium").roles["image"] == "A1_HE.jpg"


@pytest.mark.parametrize(
    ("unit", "folder", "counts"),
    [
        (None, "binned_outputs/square_016um", "filtered_feature_bc_matrix.h5"),
        ("square_008um", "binned_outputs/square_008um", "filtered_feature_bc_matrix.h5"),
        ("square_002um", "binned_outputs/square_002um", "filtered_feature_bc_matrix.h5"),
        ("cell", "segmented_outputs", "filtered_feature_cell_matrix.h5"),
    ],
)
def test_the_unit_of_an_hd_sample_chooses_the_folder(unit: str | None, folder: str, counts: str) -> None:
    of_bins = ["filtered_feature_bc_matrix.h5", "raw_feature_bc_matrix.h5", "spatial/tissue_positions.parquet"]
    of_bins += ["spatial/scalefactors_json.json", "spatial/tissue_hires_image.png", "spatial/cytassist_image.tiff"]
    names = [f"binned_outputs/square_{um}um/{name}" for um in UM for name in of_bins]
    names += ["segmented_outputs/filtered_feature_cell_matrix.h5", "segmented_outputs/raw_feature_cell_matrix.h5"]
    names += ["segmented_outputs/cell_segmentations.geojson", "segmented_outputs/nucleus_segmentations.geojson"]
    names += ["segmented_outputs/graphclust_annotated_cell_segmentations.geojson"]
    names += ["segmented_outputs/spatial/scalefactors_json.json", "spatial/scalefactors_json.json"]
    names += ["spatial/cytassist_image.tiff", "spatial/tissue_hires_image.png", "HE.btf"]
    found = assign(names, "visium_hd", unit=unit)
    spots = "cell_segmentations.geojson" if unit == "cell" else "spatial/tissue_positions.parquet"
    assert found.roles["counts"] == f"{folder}/{counts}"
    assert found.roles["spots"] == f"{folder}/{spots}"
    assert found.roles["scalefactors"] == f"{folder}/spatial/scalefactors_json.json"
    assert found.roles["cytassist_image"] == "spatial/cytassist_image.tiff"
    assert found.roles["image"] == "HE.btf"
    assert not found.missing and not found.ambiguous


def test_units_in_flat_names_are_seen_too() -> None:
    names = [f"GSM1_A_square_{um}um_{name}" for um in UM
             for name in ("filtered_feature_bc_matrix.h5", "tissue_positions.parquet.gz")]  # fmt: skip
    roles = assign(names, "visium_hd", unit="square_008um").roles
    assert roles == {"counts": names[2], "spots": names[3]}


def test_a_unit_that_a_deposit_does_not_have_is_missing() -> None:
    names = ["square_002um/filtered_feature_bc_matrix.h5", "square_002um/spatial/tissue_positions.parquet"]
    assert assign(names, "visium_hd").missing == ("counts", "spots", "image")


TENX = [
    *(f"X_{name}" for name in ("spatial.tar.gz", "filtered_feature_bc_matrix.tar.gz", "raw_feature_bc_matrix.tar.gz")),
    *(f"X_{name}" for name in ("analysis.tar.gz", "fastqs.tar", "molecule_info.h5", "cloupe.cloupe")),
]


@pytest.mark.parametrize(
    ("reader", "unit", "names", "archives"),
    [
        ("visium", None, [*TENX, "X_image.tif"], TENX[:2]),
        ("visium", None, [*TENX, "X_filtered_feature_bc_matrix.h5", "X_image.tif"], TENX[:1]),
        ("visium", None, ["a.zip", *TENX], [*TENX[:2], "a.zip"]),
        ("visium", None, ["SN048_A121573_Rep1.zip"], ["SN048_A121573_Rep1.zip"]),
        ("visium", None, ["GSE1_RAW.tar"], ["GSE1_RAW.tar"]),
        ("visium", None, ["GSE1_RAW.tar", "images.zip"], ["images.zip"]),
        ("visium", None, ["GSE1_RAW.tar", "GSM1_A_filtered_feature_bc_matrix.h5"], []),
        ("visium", None, ["X_raw_feature_bc_matrix.tar.gz"], ["X_raw_feature_bc_matrix.tar.gz"]),
        ("visium_hd", None, ["H_binned_outputs.tar.gz", "H_square_002um_outputs.tar.gz", "H_tissue_image.btf",
                             "H_segmented_outputs.tar.gz"], ["H_binned_outputs.tar.gz"]),
        ("visium_hd", None, ["H_binned_outputs.tar.gz", "H_square_016um_outputs.tar.gz", "H_tissue_image.btf"],
         ["H_square_016um_outputs.tar.gz", "H_binned_outputs.tar.gz"]),
        ("visium_hd", "square_002um", ["H_binned_outputs.tar.gz", "H_square_002um_outputs.tar.gz", "H_HE.btf"],
         ["H_square_002um_outputs.tar.gz", "H_binned_outputs.tar.gz"]),
        ("visium_hd", "cell", ["H_binned_outputs.tar.gz", "H_segmented_outputs.tar.gz", "H_tissue_image.btf"],
         ["H_segmented_outputs.tar.gz"]),
        ("xenium", None, ["P_xe_outs.zip", "P_outs.zip", "P_he_image.ome.tif", "P_cell_feature_matrix.zarr.zip"],
         ["P_outs.zip", "P_xe_outs.zip"]),
        ("xenium", None, ["outs.zip", "he_image.ome.tif"], ["outs.zip"]),
        ("xenium", None, ["A_xe_outs.zip", "B_outs.zip"], ["B_outs.zip", "A_xe_outs.zip"]),
        ("st_v1", None, ["code.tar.gz", "A1.zip"], ["A1.zip", "code.tar.gz"]),
        ("st_v1", None, [*HER2ST.values(), "A1.zip"], []),
    ],
)  # fmt: skip
def test_archives_that_may_hold_what_is_missing_come_likeliest_first(reader, unit, names, archives) -> None:
    assert list(assign(names, reader, unit=unit).archives) == archives


def test_a_transformation_stands_in_for_a_table_of_spots() -> None:
    names = ["Rep1_MOB_count_matrix-1.tsv", "HE_Rep1.jpg", "Rep1_MOB_transformation.txt"]
    found = assign(names, "st_v1")
    assert found.roles == dict(zip(("counts", "image", "transform"), names, strict=True)) and not found.missing
    assert assign(names[:2], "st_v1").missing == ("spots",)


def test_an_h5ad_may_be_its_own_table_of_positions() -> None:
    found = assign(["st/INT1.h5ad", "wsis/INT1.tif"], "visium")
    assert found.roles == {"counts": "st/INT1.h5ad", "spots": "st/INT1.h5ad", "image": "wsis/INT1.tif"}
    assert "may hold" in found.why["spots"]
    assert assign(["A1.h5ad", "tissue_positions.csv"], "visium").roles["spots"] == "tissue_positions.csv"


COUNTED = ["X_filtered_feature_bc_matrix.h5", "X_image.tif"]


def test_positions_of_visium_are_not_needed_but_looked_for_as_if_they_were() -> None:
    found = assign(COUNTED, "visium")
    assert "spots" not in ROLES["visium"].needed
    assert found.missing == ("spots",)
    assert assign([*COUNTED, "X_spatial.tar.gz"], "visium").archives == ("X_spatial.tar.gz",)
    assert assign([*COUNTED, "X_outs.zip"], "visium").archives == ("X_outs.zip",)


@pytest.mark.parametrize("alignment", [[], ["V19L29-035-B1.json"]])
@pytest.mark.parametrize("positions", SPOTS_FROM_BEST)
def test_positions_that_are_listed_are_always_taken_beside_an_alignment_too(positions, alignment) -> None:
    found = assign([*COUNTED, positions, *alignment], "visium")
    assert found.roles["spots"] == positions
    assert found.missing == ()
    assert [found.roles[role] for role in ("alignment",) if role in found.roles] == alignment


def test_two_tables_of_positions_are_ambiguous_and_not_replaced_by_none() -> None:
    found = assign([*COUNTED, "a/tissue_positions.csv", "b/tissue_positions.csv"], "visium")
    assert found.ambiguous == {"spots": ("a/tissue_positions.csv", "b/tissue_positions.csv")}
    assert "spots" not in found.missing


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        ([*COUNTED, "V19L29-035-B1.json"], None),
        (COUNTED, None),
        (["GSM1_Visium_filtered_feature_bc_matrix.h5", "slide.tif"], "visium"),
        ([*COUNTED, "scalefactors_json.json"], "visium"),
        (["X_feature_slice.h5", *COUNTED], "visium_hd"),
    ],
)
def test_counts_and_a_picture_alone_are_told_only_by_what_else_there_is(names: list[str], reader: str | None) -> None:
    assert recognise(names).reader == reader


def test_if_stains_are_not_aligned_as_he() -> None:
    assert "alignment" not in assign(["X_if_imagealignment.csv", "X_if_image.ome.tif"], "xenium").roles
    assert assign(["X_keypoints.csv"], "xenium").roles["alignment"] == "X_keypoints.csv"


@pytest.mark.parametrize(
    "name", ["V19L29-035-B1.json", "V10A20-016_D1.json.gz", "X_alignment_file.json", "loupe_A1.json"]
)
def test_loupe_alignments_are_known_by_slide_and_area(name: str) -> None:
    assert assign([name, "scalefactors_json.json"], "visium").roles["alignment"] == name


@pytest.mark.parametrize("names", [[], ["a.csv", "b.txt"], ["GSM1_filtered_feature_bc_matrix.h5"], ["reads.fastq.gz"]])
def test_counts_of_single_cells_are_not_taken_for_spots(names: list[str]) -> None:
    assert recognise(names).reader is None


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("GSM7780155_Xenium_S2.zip", "xenium"),
        ("Visium_HD_Human_Colon_Cancer.tar", "visium_hd"),
        ("GSM1_visium_A1.h5ad", "visium"),
        ("X_spatial.tar.gz", "visium"),
        ("X_binned_outputs.tar.gz", "visium_hd"),
        ("X_xe_outs.zip", "xenium"),
    ],
)
def test_an_archive_or_a_word_can_tell_the_technology(name: str, reader: str) -> None:
    assert recognise([name, "x.pdf"]).reader == reader


@pytest.mark.parametrize(
    ("name", "patterns", "fits"),
    [
        ("a/b_A1_x.csv", "*_A1_*", True),
        ("a/b_A1_x.csv", "b_A1*", True),
        ("a/b_A1_x.csv", "nothing a/*", True),
        ("a/b_A1_x.csv", "*_a1_*", False),
        ("a/b_A1_x.csv", None, True),
        ("Patient 2/V2_2.jpg", "Patient?2/V2_2*", True),
    ],
)
def test_patterns_of_a_row_fit_names_and_their_last_parts(name: str, patterns: str | None, fits: bool) -> None:
    assert matches(name, patterns) is fits


@pytest.mark.parametrize("reader", readers.READERS.names())
def test_a_reader_reads_every_role_but_pictures(reader: str) -> None:
    roles = layout(reader).roles
    assert {*roles.fetched} - {*roles.read_always, *roles.read_if_there} <= {"image", "cytassist_image", "morphology"}
    assert "image" not in roles.read_always
    assert len(set(roles.fetched)) == len(roles.fetched)
    assert layout(reader).fault() is None


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["morphology.ome.tif", "morphology_focus.ome.tif", "morphology_mip.ome.tif"], "morphology_focus.ome.tif"),
        (["morphology.ome.tif", "morphology_mip.ome.tif"], "morphology_mip.ome.tif"),
        ([f"morphology_focus/morphology_focus_000{n}.ome.tif" for n in range(4)], "morphology_focus_0000.ome.tif"),
        (["morphology_focus/ch0000_dapi.ome.tif", "morphology_focus/ch0001_rna.ome.tif"], "ch0000_dapi.ome.tif"),
        (["GSM1_morphology.ome.tif.gz"], "GSM1_morphology.ome.tif.gz"),
    ],
)
def test_the_dapi_picture_in_focus_is_taken_before_the_stack(names: list[str], taken: str) -> None:
    assert assign([*names, "X_he_image.ome.tif"], "xenium").roles["morphology"].endswith(taken)


def test_layouts_are_told_apart_by_their_orders() -> None:
    orders = [layout(reader).order for reader in ROLES]
    assert len(set(orders)) == len(orders)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from spotweave import readers; from spotweave.intake import layouts, recognise;"
        "recognise.recognise(['a']); layouts.assign(['a'], 'visium_hd');"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env={
        "PYTHONPATH": str(Path(readers.__file__).parents[2])})  # fmt: skip
    outside = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"spotweave", "__main__", "_distutils_hack"}
    assert not {name for name in outside if not name.startswith("_")}


# Real names.

READER_OF = {"Visium": "visium", "Visium HD": "visium_hd", "Xenium": "xenium", "ST": "st_v1"}
PUBLISHED = {"url_counts": "counts", "url_image": "image", "url_alignment": "alignment"}


def cohort_rows() -> list[dict[str, str]]:
    path = SHARED / "facts/cohorts.csv"
    if not path.is_file():
        pytest.skip(f"{NOT_HERE}{path.name}")
    with open(path, newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def is_file(url: str) -> bool:
    """Whether an address is that of one file, not of a page, a folder or a programming interface."""
    last = urlsplit(url).path.rpartition("/")[2]
    return "." in last and "/api" not in url and "public-api" not in url


def published(row: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Role and name of each file that a row's addresses name."""
    for column, role in PUBLISHED.items():
        if row[column] and is_file(row[column]):
            name = urlsplit(row[column]).path.rpartition("/")[2]
            yield ("transform" if "transformation" in name else role), name


def test_addresses_of_every_published_sample_get_their_roles() -> None:
    checked = 0
    for row in cohort_rows():
        expected = dict(published(row))
        names = [*expected.values()]
        for column in ("url_spatial", "url_bundle"):
            if row[column] and is_file(row[column]):
                names.append(urlsplit(row[column]).path.rpartition("/")[2])
        if not expected:
            continue
        found = assign(names, READER_OF[row["technology"]])
        assert {role: found.roles.get(role) for role in expected} == expected, row["sample_id"]
        assert not found.ambiguous, row["sample_id"]
        if found.missing:
            bundles = [name for name in names if name.endswith((".tar.gz", ".zip")) and name not in expected.values()]
            if READER_OF[row["technology"]] != "visium_hd":  # its spatial archive has no positions
                assert set(found.archives) == set(bundles), row["sample_id"]
            else:
                assert found.archives == tuple(name for name in bundles if "binned_outputs" in name)
        checked += 1
    assert checked > 100


def members(text: str) -> list[str]:
    """Paths of a list such as `a/{b.h5,c.csv}; d.jpg (remark)`."""
    paths = []
    for part in text.partition(" (7z")[0].split(";"):
        path = part.partition(" (")[0].strip()
        before, brace, inside = path.partition("{")
        many = inside.rstrip("}").split(",") if brace else [""]
        paths += [before + one for one in many] if path and not path.startswith("full-res") else []
    return paths


def test_members_of_every_published_archive_get_their_roles() -> None:
    checked = 0
    for row in cohort_rows():
        if not row["bundle_member"]:
            continue
        reader = READER_OF[row["technology"]]
        names = [
            name.replace("square_002um|008um|016um", f"square_{um}um")
            for name in members(row["bundle_member"])
            for um in UM
        ]
        found = assign(names, reader)
        own = [name for name in dict.fromkeys(names) if "square" not in name or "016um" in name]
        for name in own:
            assert name in found.roles.values() or name in found.unused, (row["sample_id"], name)
        assert set(found.unused) <= {name for name in names if "metadata" in name or "Coords" in name or "um/" in name}
        assert not found.ambiguous
        separate = {"image"} & set(dict(published(row))) or "hires" in row["bundle_member"]
        lacking = set(found.missing) - {"morphology"}  # the lists name no DAPI picture
        assert not lacking - ({"image"} if separate else set()), (row["sample_id"], found)
        assert recognise(names).reader == reader or not row["url_landing"].startswith("http"), row["sample_id"]
        checked += 1
    assert checked > 60


@pytest.mark.parametrize(
    ("folder", "reader", "unit", "expected"),
    [
        (
            "dlpfc/151507",
            "visium",
            None,
            {"spots": "tissue_positions_list.txt", "scalefactors": "scalefactors_json.json"},
        ),
        (
            "visium_mouse_brain_anterior",
            "visium",
            None,
            {
                "counts": "filtered_feature_bc_matrix.h5",
                "spots": "spatial/tissue_positions_list.csv",
                "scalefactors": "spatial/scalefactors_json.json",
            },
        ),
        (
            "visium_mouse_brain_posterior_outs",
            "visium",
            None,
            {
                **{role: f"{name}.gz" for role, name in MEX.items()},
                "spots": "spatial/tissue_positions_list.csv",
                "scalefactors": "spatial/scalefactors_json.json",
            },
        ),
        (
            "visium_hd_schema",
            "visium_hd",
            "square_002um",
            {
                "counts": "binned_outputs/square_002um/filtered_feature_bc_matrix.h5",
                "spots": "binned_outputs/square_002um/spatial/tissue_positions.parquet",
                "scalefactors": "binned_outputs/square_002um/spatial/scalefactors_json.json",
            },
        ),
        (
            "xenium_fragments",
            "xenium",
            None,
            {"transcripts": "transcripts.parquet", "nucleus_boundaries": "nucleus_boundaries.parquet"},
        ),
    ],
)
def test_real_folders_get_their_roles_and_no_more(folder: str, reader: str, unit: str | None, expected) -> None:
    found = assign(real_names(folder), reader, unit=unit)
    assert found.roles == expected
    assert not found.ambiguous and "image" in found.missing


@pytest.mark.parametrize("section", ["B4", "C2", "C3", "C4", "C5"])
def test_real_sections_of_her2st_are_told_apart_by_a_pattern(section: str) -> None:
    names = [name for name in real_names("her2st") if matches(name, f"{section}*")]
    assert assign(names, "st_v1").roles == {
        "counts": f"{section}.tsv.gz",
        "spots": f"{section}_selection.tsv",
        "image": f"{section}.jpg",
    }


def test_a_masked_picture_of_her2st_is_not_its_slide() -> None:
    found = assign([name for name in real_names("her2st") if matches(name, "A1*")], "st_v1")
    assert found.missing == ("image",) and found.roles["spots"] == "A1_selection.tsv"


@pytest.mark.parametrize("section", ["MOB1", "MOB2", "MOB3"])
def test_real_sections_of_the_olfactory_bulb(section: str) -> None:
    names = [name for name in real_names("mob") if matches(name, f"*{section}*")]
    assert assign(names, "st_v1").roles == {
        "counts": f"{section}.tsv.gz",
        "spots": f"alignment_table_{section}.tsv",
        "image": f"{section}.jpg",
    }


def real_names(folder: str) -> list[str]:
    path = SHARED / "data" / folder
    if not path.is_dir():
        pytest.skip(f"{NOT_HERE}{folder}")
    return [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("role", "exact", "longer"),
    [
        ("spots", "tissue_positions_list.csv", "tissue_positions_list_log_UMI.csv"),
        ("spots", "tissue_positions_list.csv", "tissue_positions_log_UMI.csv"),
        ("spots", "tissue_positions_list.csv", "tissue_positions_old.parquet"),
        ("spots", "spatial/GSM1_tissue_positions.csv.gz", "spatial/GSM1_tissue_positions_scaled.csv.gz"),
        ("scalefactors", "scalefactors_json.json", "scalefactors_json_old.json"),
        ("counts", "GSM1_filtered_feature_bc_matrix.h5", "GSM1_filtered_feature_bc_matrix_soupx.h5"),
        ("image", "HE.tif", "HE_small.tif"),
    ],
)
def test_an_exact_name_beats_a_longer_one_beside_it(role: str, exact: str, longer: str) -> None:
    others = {key: name for key, name in GEO.items() if key not in (role, "hires_image")}
    found = assign([*others.values(), exact, longer], "visium")
    assert found.roles[role] == exact
    assert role not in found.ambiguous


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("spots", ["A_tissue_positions_list.csv", "B_tissue_positions_list.csv"]),
        ("spots", ["A/tissue_positions_list.csv", "B/tissue_positions_list_2.csv"]),
        ("spots", ["tissue_positions_list_1.csv", "tissue_positions_list_2.csv"]),
        ("image", ["A.tif", "A_2.tif"]),
        ("counts", ["A/filtered_feature_bc_matrix.h5", "B/filtered_feature_bc_matrix_2.h5"]),
    ],
)
def test_names_of_two_samples_are_still_ambiguous(role: str, names: list[str]) -> None:
    others = {key: name for key, name in GEO.items() if key not in (role, "hires_image")}
    if role == "counts":
        others = {key: name for key, name in others.items() if key not in ("features", "barcodes")}
    assert set(assign([*others.values(), *names], "visium").ambiguous.get(role, ())) == set(names)


def test_a_matrix_with_one_of_its_lists_gives_way_to_a_whole_one() -> None:
    half = ["filtered_feature_bc_matrix/matrix.mtx.gz", "filtered_feature_bc_matrix/barcodes.tsv.gz"]
    assert assign([*half, "raw_feature_bc_matrix.h5"], "visium").roles["counts"] == "raw_feature_bc_matrix.h5"


def test_a_packed_copy_of_counts_or_positions_is_no_second_candidate() -> None:
    names = ["A1_filtered_feature_bc_matrix.h5", "A1_tissue_positions.csv"]
    found = assign([*names, *(f"{name}.gz" for name in names)], "visium")
    assert [found.roles["counts"], found.roles["spots"]] == names
    assert not found.ambiguous
