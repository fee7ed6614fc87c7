"""STimage-1K4M's layout: read as pandas wrote it, written as pandas reads it, there and back, and not believed."""

import csv
import gzip
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from project import ROOT
from real_data import real
from spotweave.embeddings.sample import embed_sample
from spotweave.errors import Refusal
from spotweave.evaluation.command import run
from spotweave.evaluation.files import Asked
from spotweave.expression.samples import read_expression
from spotweave.pictures.files import open_picture
from spotweave.stimage import FOLDERS, META
from spotweave.stimage.exporting import export
from spotweave.stimage.importing import import_folder
from spotweave.stimage.pixel_size import measure, spacing_px

SLIDE, OTHER = "Human_Test_2026_ST_A1", "Human_Test_2026_ST_B1"
GENES = ["ACTB", "a,b", "G-3", "ACTB", "G5"]
SIDE_PX, PITCH_PX, RADIUS_PX = 400, 50.0, 12.345678901234567
# The first rows of the public example of a coord file, of section A1.
PUBLISHED = {"10x13": (2622.15, 1923.65), "10x14": (2844.32, 1926.69), "22x12": (2394.07, 4550.31)}
PUBLISHED_R = 54.328144511906295


def picture(seed=0):
    """Smooth colours, which JPEG keeps nearly as they are."""
    y, x = np.mgrid[:SIDE_PX, : SIDE_PX + 40]
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return np.stack([128 + 100 * np.sin(x / 40 + y / 60 + one) for one in phase], -1).astype(np.uint8)


def write_slide(root, name=SLIDE, seed=0, folder="ST", format="PNG"):
    """A slide of 36 spots, written as the publishers do, with pandas."""
    rng = np.random.default_rng(seed)
    places = [(column, row) for row in range(6) for column in range(6)]
    ids = [f"{name}_{column + 4}x{row + 7}" for column, row in places]
    xy = np.array(places) * PITCH_PX + (60, 40) + rng.uniform(-4, 4, (36, 2))
    coord = pd.DataFrame({"yaxis": xy[:, 1], "xaxis": xy[:, 0], "r": RADIUS_PX}, index=ids)
    counts = pd.DataFrame(rng.poisson(2, (36, 5)), index=ids, columns=GENES).sample(frac=1, random_state=seed)
    for part in ("coord", "gene_exp", "image"):
        (root / folder / part).mkdir(parents=True, exist_ok=True)
    coord.to_csv(root / folder / f"coord/{name}_coord.csv")
    counts.to_csv(root / folder / f"gene_exp/{name}_count.csv")
    Image.fromarray(picture(seed)).save(root / folder / f"image/{name}.png", format=format)
    return coord, counts


@pytest.fixture
def root(tmp_path):
    """Two slides, their table and labels."""
    root = tmp_path / "STimage"
    for seed, name in enumerate((SLIDE, OTHER)):
        coord, _ = write_slide(root, name, seed, format=("JPEG", "TIFF")[seed])
    told = ["tumour", "stroma", "undetermined", ""] * 9
    (root / "annotation").mkdir()
    labels = pd.DataFrame({"sample_name": OTHER, "V2": told}, index=coord.index)
    labels.to_csv(root / "annotation/Human_Test_anno.csv", sep="\t")
    rows = [
        [name, "human", "breast", "12345", 'On "tests",\nof 2 lines', "", "", "True", "ST", 36, 5]
        for name in (SLIDE, OTHER)
    ]
    (root / "meta").mkdir()
    table = pd.DataFrame(rows, columns=META)
    table.to_csv(root / "meta/meta_all_gene02122025.csv", index=False, quoting=csv.QUOTE_ALL)
    table.assign(species="mouse").to_csv(root / "meta/meta_all_gene.csv", index=False)
    return root


def values_of(root, name=SLIDE):
    return (
        pd.read_csv(root / f"ST/coord/{name}_coord.csv", index_col=0, float_precision="round_trip"),
        pd.read_csv(root / f"ST/gene_exp/{name}_count.csv", index_col=0),
    )


def test_a_slide_is_read_value_by_value(root, tmp_path):
    said = import_folder(root, tmp_path / "toy")
    assert said == f"{tmp_path / 'toy'}: slides 2, spots 72, labelled 18"
    coord, counts = values_of(root)
    read = anndata.read_h5ad(tmp_path / f"toy/samples/{SLIDE}/st.h5ad")
    assert [f"{SLIDE}_{spot}" for spot in read.obs_names] == coord.index.tolist()
    assert np.array_equal(read.obsm["spatial"], coord[["xaxis", "yaxis"]].to_numpy())
    assert np.array_equal(read.X.toarray(), counts.loc[coord.index].to_numpy())
    assert read.var_names.tolist() == ["ACTB", "a,b", "G-3", "ACTB-1", "G5"]
    assert read.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"] == 2 * RADIUS_PX
    assert read.obs["in_tissue"].all()
    row = pd.read_csv(tmp_path / "toy/toy.csv").set_index("id").loc[SLIDE]
    assert row[["species", "organ", "st_technology", "disease_state", "dataset_title"]].tolist() == [
        "Homo sapiens",  # of the later table
        "Breast",
        "Spatial Transcriptomics",
        "Cancer",
        'On "tests",\nof 2 lines',
    ]
    assert str(row["donor"]) == "12345"  # both slides: no table says that their donors are two
    assert row["donor_from"].startswith("the study")
    assert row["duplicate_gene_names"] == 1
    assert row["pixel_size_um_estimated"] == pytest.approx(200 / PITCH_PX, rel=0.02)
    labels = pd.read_csv(tmp_path / "toy/labels.tsv", sep="\t")
    assert labels["label"].value_counts().to_dict() == {"tumour": 9, "stroma": 9}
    first = labels.iloc[0]
    assert (first["sample"], f"{OTHER}_{first['barcode']}") == (OTHER, values_of(root, OTHER)[0].index[0])


@pytest.mark.parametrize("name", [SLIDE, OTHER])
def test_pictures_are_what_they_hold_whatever_their_name(root, tmp_path, name):
    """One is a JPEG, the other a TIFF; both are called .png, as published."""
    import_folder(root, tmp_path / "toy")
    shown = open_picture(tmp_path / f"toy/samples/{name}/slide.tif").image.numpy()
    filed = np.asarray(Image.open(root / f"ST/image/{name}.png"))
    assert shown.shape == filed.shape
    assert np.abs(shown.astype(int) - filed).mean() < 2


def test_there_and_back_every_value_is_the_same(root, tmp_path):
    import_folder(root, tmp_path / "toy")
    labels = [str(tmp_path / "toy/labels.tsv")]
    export(tmp_path / "toy", tmp_path / "out", labels=labels)
    export(tmp_path / "toy", tmp_path / "again", labels=labels)
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [str(path) for path in files if "A1" in path.name] == [
        f"ST/coord/{SLIDE}_coord.csv",
        f"ST/gene_exp/{SLIDE}_count.csv",
        f"ST/image/{SLIDE}.png",
        f"spotweave_extra/genes/{SLIDE}_genes.csv",
        f"spotweave_extra/spots/{SLIDE}_spots.csv",
    ]
    for path in files:
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "again" / path).read_bytes()
    for name in (SLIDE, OTHER):
        (coord, counts), (filed, filed_counts) = values_of(tmp_path / "out", name), values_of(root, name)
        pd.testing.assert_frame_equal(coord, filed, check_exact=True)
        assert (counts.to_numpy() == filed_counts.loc[coord.index].to_numpy()).all()
        # As the publishers' quick start reads it.
        assert anndata.AnnData(counts).obs_names.tolist() == coord.index.tolist()
        with Image.open(tmp_path / f"out/ST/image/{name}.png") as shown:
            assert shown.format == "PNG"
            filed_px = np.asarray(Image.open(root / f"ST/image/{name}.png")).astype(int)
            assert np.abs(np.asarray(shown) - filed_px).mean() < 2
    meta = pd.read_csv(tmp_path / "out/meta/meta_all_gene.csv", dtype=str, keep_default_na=False)
    assert meta.loc[0].tolist() == [
        SLIDE,
        "human",
        "breast",
        "",
        'On "tests",\nof 2 lines',
        "",
        "",
        "True",
        "ST",
        "36",
        "5",
    ]
    told = pd.read_csv(tmp_path / "out/annotation/toy_anno.csv", sep="\t", index_col=0)
    filed = pd.read_csv(root / "annotation/Human_Test_anno.csv", sep="\t", index_col=0)
    filed = filed[filed.V2.isin(["tumour", "stroma"])]
    pd.testing.assert_frame_equal(told, filed)
    assert not pd.read_csv(tmp_path / "out/spotweave_extra/slides.csv")["pixel_size_um"].isna().any()
    import_folder(tmp_path / "out", tmp_path / "back")
    first, second = (anndata.read_h5ad(tmp_path / f"{one}/samples/{SLIDE}/st.h5ad") for one in ("toy", "back"))
    assert (first.X != second.X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, second.obs)
    pd.testing.assert_frame_equal(first.var, second.var)
    assert np.array_equal(first.obsm["spatial"], second.obsm["spatial"])
    scales = [one.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"] for one in (first, second)]
    assert scales[0] == scales[1]
    sizes = [json.loads((tmp_path / f"{one}/samples/{SLIDE}/alignment.json").read_text()) for one in ("toy", "back")]
    assert sizes[0]["pixel_size_um"] == sizes[1]["pixel_size_um"]
    assert sizes[1]["pixel_size_from"] == "stated by the export"


def test_other_stages_read_what_was_imported(root, tmp_path):
    import_folder(root, tmp_path / "toy")
    row = {"encoder": "handcrafted", "builder": "handcrafted", "weights": "none", "dim": "81", "input_px": "224"}
    for name in (SLIDE, OTHER):
        store = tmp_path / f"toy/samples/{name}"
        expression = read_expression(store / "st.h5ad", name)
        (store / "embeddings").mkdir()
        for encoder in ("one", "two"):
            path = store / f"embeddings/{encoder}.h5"
            embed_sample(path, store / "patches.h5", row, sample=name, encoder=encoder, device="cpu")
        with h5py.File(store / "patches.h5") as file:
            assert file["barcode"].asstr()[:, 0].tolist() == expression.barcodes.tolist()
            um = json.loads((store / "alignment.json").read_text())["pixel_size_um"]
            middle = file["img"][14, 112, 112].astype(int)
        x, y = expression.positions_px[14]
        shown = open_picture(store / "slide.tif").image.numpy()
        assert um == pytest.approx(4, rel=0.02)
        assert np.abs(middle - shown[int(y), int(x)]).max() < 12
    asked = Asked(["one", "two"], labels=[str(tmp_path / "toy/labels.tsv")], genes=["G5"], seeds=(1,))
    run(tmp_path / "toy", asked, tmp_path / "evaluated")
    spots = json.loads((tmp_path / "evaluated/evaluation.json").read_text())["spots"]["all"]
    assert spots["labelled"] == {SLIDE: 0, OTHER: 18}


# Pixel size


def test_spacing_of_a_lattice_whose_spots_lie_a_little_off_is_not_too_short():
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 100.0
    off = place + rng.normal(scale=4, size=place.shape)
    assert spacing_px(off) == pytest.approx(100, rel=0.01)
    hexagonal = np.stack([place[:, 0] + place[:, 1] / 2, place[:, 1] * np.sqrt(3) / 2], 1)
    assert spacing_px(hexagonal) == pytest.approx(100)
    assert spacing_px(place[:1]) is None
    assert spacing_px(np.zeros((5, 2))) is None


def test_a_radius_that_is_twice_what_it_should_be_is_refused_and_can_be_chosen_against():
    place = np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2) * 200.0
    printed = FOLDERS["Visium"]
    right = measure("s", place, 55.0, printed)
    assert (right.um, right.source) == (0.5, "spacing of spots")
    for radius in (110.0, 27.5):
        with pytest.raises(
            Refusal, match=r"s: 0\.5 um per px by the spacing of spots, .* by their radius; .*--pixel-size"
        ):
            measure("s", place, radius, printed)
    assert measure("s", place, 110.0, printed, way="spacing").um == 0.5
    assert measure("s", place, 110.0, printed, way="radius").um == 0.25
    assert measure("s", place[:1], 55.0, printed).um == 0.5
    assert measure("s", place, 55.0, printed, stated_um=0.51).um == 0.51
    with pytest.raises(Refusal, match=r"0\.55 um per px as stated, 0\.5 by their spacing"):
        measure("s", place, 55.0, printed, stated_um=0.55)


@pytest.mark.parametrize("section", ["151507", "151673"])
def test_radii_of_space_ranger_are_near_enough_to_spacings_of_real_sections(section):
    folder = real("data", "dlpfc", section)
    positions = pd.read_csv(next(folder.glob("*positions*")), header=None)
    scales = json.loads(next(folder.glob("*scalef*.json")).read_text())
    xy = positions[[5, 4]].to_numpy(float)
    # Positions are px of the full picture; a capture area is 6.5 mm, 127 half-columns of 50 um.
    span_um = 127 * 50.0
    expected = span_um / np.ptp(xy[:, 1] if np.ptp(xy[:, 1]) > np.ptp(xy[:, 0]) else xy[:, 0])
    found = measure(section, xy, scales["spot_diameter_fullres"] / 2, FOLDERS["Visium"])
    assert found.um == pytest.approx(expected, rel=0.08)
    assert found.by_radius_um / found.um < 0.85  # its spots are not of the 55 um that are printed


def test_a_real_section_in_the_published_layout(tmp_path):
    """Axes and radius are those of the public example; the picture is a JPEG of .2876 the size, called .png."""
    selection = pd.read_csv(real("data", "her2st", "A1_selection.tsv"), sep="\t")
    counts = pd.read_csv(real("data", "her2st", "A1.tsv.gz"), sep="\t", index_col=0)
    labels = pd.read_csv(real("data", "her2st", "A1_labeled_coordinates.tsv"), sep="\t")
    ids = selection["x"].astype(str) + "x" + selection["y"].astype(str)
    place = dict(zip(ids, zip(selection["pixel_y"], selection["pixel_x"], strict=True), strict=True))
    assert {spot: place[spot] for spot in PUBLISHED} == PUBLISHED
    name, scale = "Human_Breast_Andersson_10142021_ST_A1", 0.2876
    root = tmp_path / "S"
    for part in ("coord", "gene_exp", "image"):
        (root / "ST" / part).mkdir(parents=True)
    coord = pd.DataFrame(place, index=["yaxis", "xaxis"]).T * scale
    coord["r"] = PUBLISHED_R * scale
    coord.rename(lambda spot: f"{name}_{spot}").to_csv(root / f"ST/coord/{name}_coord.csv")
    counts.rename(lambda spot: f"{name}_{spot}").to_csv(root / f"ST/gene_exp/{name}_count.csv")
    shutil.copy(real("data", "her2st", "A1_masked.jpg"), root / f"ST/image/{name}.png")
    (root / "annotation").mkdir()
    told = labels.assign(V2=labels["label"], sample_name=name)
    told.index = [f"{name}_{round(x)}x{round(y)}" for x, y in zip(labels["x"], labels["y"], strict=True)]
    told[["sample_name", "V2"]].to_csv(root / "annotation/A1_anno.csv", sep="\t")
    import_folder(root, tmp_path / "toy")
    row = pd.read_csv(tmp_path / "toy/toy.csv").loc[0]
    assert row["pixel_size_um_by_spacing"] == pytest.approx(row["pixel_size_um_by_radius"], rel=0.01)
    assert row["pixel_size_um_estimated"] == pytest.approx(3.2, rel=0.01)
    read = read_expression(tmp_path / f"toy/samples/{name}/st.h5ad", name)
    assert read.counts.sum() == counts.loc[[spot for spot in ids if spot in counts.index]].to_numpy().sum()
    assert len(read.barcodes) + row["spots_without_counts"] == len(selection)
    assert pd.read_csv(tmp_path / "toy/labels.tsv", sep="\t")["label"].value_counts()["invasive cancer"] >= 280


# What nobody should believe


def edited(file, old, new, count=1):
    def change(root):
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, count))

    return change


def linked(file):
    def change(root):
        path = root / file
        target = root.parent / "elsewhere"
        path.rename(target)
        path.symlink_to(target)

    return change


def written(file, content):
    return lambda root: (root / file).write_bytes(content)


def huge_png(side=60_000):
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def columns_exchanged(root):
    path = root / COORD
    table = pd.read_csv(path, index_col=0)
    table["yaxis"] += 400
    table.to_csv(path)


def row_again(file):
    def change(root):
        lines = (root / file).read_text().splitlines()
        (root / file).write_text("\n".join([*lines, lines[1], ""]))

    return change


COORD, COUNT, PNG = f"ST/coord/{SLIDE}_coord.csv", f"ST/gene_exp/{SLIDE}_count.csv", f"ST/image/{SLIDE}.png"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / COUNT).unlink(), f"{COUNT}: there is no such file"),
        (lambda root: (root / PNG).unlink(), f"{PNG}: there is no such file"),
        (linked(COORD), f"{COORD}: a link, or behind one"),
        (linked(COUNT), f"{COUNT}: a link, or behind one"),
        (linked(PNG), f"{PNG}: a link, or behind one"),
        (edited(COORD, "xaxis", "x"), f"{COORD}: no column xaxis"),
        (edited(COORD, ",r\n", "\n"), f"{COORD}: .*"),
        (row_again(COORD), f"{COORD}: row 38: '{SLIDE}_4x7' is there twice"),
        (row_again(COUNT), f"{COUNT}: row 38: spot {SLIDE}_\\d+x\\d+ is there twice"),
        (edited(COORD, f"{SLIDE}_", f"{OTHER}_"), f"spot '{OTHER}_4x7' is none of this slide"),
        (edited(COORD, f"{SLIDE}_4x7", f"{SLIDE}_"), f"spot '{SLIDE}_' is none of this slide"),
        (edited(COORD, str(RADIUS_PX), "12.5"), r"r is 12\.3457 to 12\.5; one radius"),
        (edited(COORD, str(RADIUS_PX), "0", -1), "r is 0 to 0; one radius above 0"),
        (edited(COORD, str(RADIUS_PX), "inf"), "row 2: r is 'inf', which is not a number"),
        (edited(COORD, str(RADIUS_PX), "1e999"), "row 2: r is '1e999', which is not a number"),
        (
            edited(COORD, str(RADIUS_PX), str(RADIUS_PX * 2), -1),
            "um per px by the spacing of spots, .* by their radius",
        ),
        (columns_exchanged, "36 of 36 spots lie beyond the picture of 440 x 400 px"),
        (edited(COUNT, "ACTB,G5", ",G5"), f"{COUNT}: column 5 has no name of a gene"),
        (edited(COUNT, "ACTB,", "ACTB,MORE,"), f"{COUNT}: row 2 .* has 6 fields where 7 are expected"),
        (written(PNG, b"<html>no such page</html>"), "cannot be decoded"),
        (written(PNG, huge_png()), "60,000 x 60,000 px are announced by a file of"),
        (written(PNG, b""), "cannot be decoded"),
        (written(COUNT, gzip.compress(b",G\n" + b"0" * (300 << 20), 9)), "more than .* bytes when unpacked"),
    ],
)
def test_a_slide_at_fault_is_left_out_with_the_reason_and_the_other_is_made(root, tmp_path, change, said):
    change(root)
    out = import_folder(root, tmp_path / "toy").splitlines()
    assert out[0].startswith(f"{tmp_path / 'toy'}: slides 1, spots 36")
    assert len(out) == 2
    (refused,) = pd.read_csv(tmp_path / "toy/quarantine.csv").to_dict("records")
    assert refused["sample_id"] == SLIDE
    assert re.search(said, refused["reason"]), refused["reason"]
    assert sorted(path.name for path in (tmp_path / "toy/samples").iterdir()) == [OTHER]


@pytest.mark.parametrize(
    ("cell", "why"),
    [("2.5", "is not a whole number"), ("-1", "is negative"), ("1e999", "beyond"), ("x", "not a number")],
)
def test_what_is_no_count_is_refused_by_row_and_gene(root, tmp_path, cell, why):
    lines = (root / COUNT).read_text().splitlines()
    fields = lines[3].split(",")
    lines[3] = ",".join([*fields[:-1], cell])
    (root / COUNT).write_text("\n".join(lines))
    said = import_folder(root, tmp_path / "toy")
    assert f"{COUNT}: row 4 ({fields[0]}), column 6 (G5): " in said
    assert why in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (written("ST/coord/a b_coord.csv", b""), "'a b_coord.csv' is no name of a slide's file"),
        (lambda root: write_slide(root, SLIDE, folder="Visium"), f"slide {SLIDE} is in ST and in Visium"),
        (linked("ST/coord"), "ST/coord: a link"),
        (linked("ST/image"), f"{PNG}: a link, or behind one"),
        (linked("meta/meta_all_gene02122025.csv"), "meta/meta_all_gene02122025.csv: a link"),
        (linked("annotation/Human_Test_anno.csv"), "annotation/Human_Test_anno.csv: a link"),
        (written("meta/meta_all_gene02122025.csv", b'"slide","species\n'), "meta_all_gene02122025.csv: not a csv"),
        (written("meta/meta_all_gene02122025.csv", b"\xff\xfe\0"), "meta_all_gene02122025.csv: not a csv"),
        (
            written("annotation/more.csv", f"\tsample_name\tV2\n{OTHER}_4x7\t{OTHER}\tother\n".encode()),
            "has another label",
        ),
        (lambda root: shutil.rmtree(root / "ST"), "no slides"),
    ],
)
def test_a_folder_at_fault_is_refused_as_a_whole(root, tmp_path, change, said):
    change(root)
    with pytest.raises(Refusal, match=said):
        import_folder(root, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    assert not list(tmp_path.glob(".part*"))


@pytest.mark.parametrize(
    ("column", "value"), [("spot_num", "1000000000000"), ("gene_num", "4"), ("tech", "Visium"), ("spot_num", "")]
)
def test_what_the_table_announces_is_held_against_the_files(root, tmp_path, column, value):
    path = root / "meta/meta_all_gene02122025.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[0, column] = value
    table.to_csv(path, index=False)
    assert f"slide {SLIDE}: {column} is '{value}', the files have" in import_folder(root, tmp_path / "toy")


@pytest.mark.parametrize("asked", ["../ST", "/etc/passwd", "none", ""])
def test_names_that_lead_elsewhere_are_none(root, tmp_path, asked):
    with pytest.raises(Refusal, match="no slide"):
        import_folder(root, tmp_path / "toy", [asked])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited(f"spotweave_extra/genes/{SLIDE}_genes.csv", "G5,", "G6,"), "its rows are not those of the slide"),
        (row_again(f"spotweave_extra/spots/{SLIDE}_spots.csv"), "is there twice"),
        (edited("spotweave_extra/slides.csv", ",99.", ",-99."), "spot_diameter_um is '-99"),
        (edited("spotweave_extra/slides.csv", "pixel_size_um", "px"), "no column pixel_size_um"),
    ],
)
def test_our_own_files_beside_the_layout_are_not_believed_either(root, tmp_path, change, said):
    import_folder(root, tmp_path / "toy", [SLIDE])
    export(tmp_path / "toy", tmp_path / "out")
    change(tmp_path / "out")
    with pytest.raises(Refusal, match=said):
        import_folder(tmp_path / "out", tmp_path / "back")


def test_what_the_layout_has_no_place_for_is_left_out_or_refused(root, tmp_path):
    import_folder(root, tmp_path / "toy")
    path = tmp_path / "toy/toy.csv"
    path.write_text(path.read_text().replace("Spatial Transcriptomics", "Xenium", 1))
    said = export(tmp_path / "toy", tmp_path / "out")
    assert said.splitlines()[1] == f"{SLIDE} left out: no place for Xenium"
    for names, why in (([SLIDE], "no place for Xenium"), (["none"], "no accepted sample none")):
        with pytest.raises(Refusal, match=why):
            export(tmp_path / "toy", tmp_path / "more", names)
    with pytest.raises(Refusal, match="there already"):
        export(tmp_path / "toy", tmp_path / "out")
    store = tmp_path / f"toy/samples/{OTHER}/st.h5ad"
    table = anndata.read_h5ad(store)
    table.X.data[0] = 0.5
    table.write_h5ad(store)
    with pytest.raises(Refusal, match=rf"spot {OTHER}_4x7 has 0\.5 of .*; the layout has whole counts"):
        export(tmp_path / "toy", tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_the_scripts_say_one_line(root, tmp_path):
    def said(script, *args):
        command = [sys.executable, str(ROOT / f"scripts/{script}.py"), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert said("import_stimage", root, "--slides", SLIDE, "--out", tmp_path / "toy") == (
        0,
        f"{tmp_path / 'toy'}: slides 1, spots 36, labelled 0\n",
    )
    code, text = said("export_stimage", tmp_path / "toy", "--out", tmp_path / "out")
    assert (code, text) == (0, f"{tmp_path / 'out'}: slides 1, spots 36\n")
    code, text = said("import_stimage", tmp_path / "out", "--slides", "../x", "--out", tmp_path / "no")
    assert (code, len(text.splitlines())) == (1, 1)
