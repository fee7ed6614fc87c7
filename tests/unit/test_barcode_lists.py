"""Deposits without a positions file: barcode lists of the vendor's software (simulated) and the Loupe alignment."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from real_data import DATA, NOT_HERE
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.readers.visium import read as visium
from spotweave.simulate.count_files import stacked, write_h5_layout_3, write_mex
from spotweave.simulate.visium import block_of, draw_truth
from spotweave.simulate.visium_files import position_rows, write_barcode_list, write_loupe, write_positions
from spotweave.visium import barcode_lists
from spotweave.visium.tissue import WHOLE_FROM, tissue_by_counts

SECTIONS = {"anterior": DATA / "visium_mouse_brain_anterior", "posterior": DATA / "visium_mouse_brain_posterior_outs"}
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"{NOT_HERE}{DATA}")


def raw(path, name=None):
    return RawFile(name or path.name, path)


@pytest.fixture(scope="module", params=["6.5 mm", "11 mm"])
def truth(request):
    return draw_truth(3, capture_area=request.param)


@pytest.fixture(scope="module")
def small():
    return draw_truth(3)


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """A folder for lists that the reader will look into."""
    monkeypatch.setenv(barcode_lists.VARIABLE, str(tmp_path / "barcodes"))
    return tmp_path / "barcodes"


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No variable, and no Space Ranger."""
    monkeypatch.delenv(barcode_lists.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def counted(path, truth, spots):
    return raw(write_h5_layout_3(path, block_of(truth, spots)))


def same_as_truth(reading, truth, spots):
    by_name = {f"{barcode}-1": k for k, barcode in enumerate(truth.barcodes)}
    at = [by_name[name] for name in reading.adata.obs_names]
    assert sorted(at) == sorted(spots)
    np.testing.assert_array_equal(reading.adata.obs[["array_row", "array_col"]], truth.array[at])
    np.testing.assert_array_equal(reading.adata.X.toarray(), truth.counts[at])
    return at


# --- what is read ---------------------------------------------------------------------------------


def test_counts_alone_are_placed_on_the_array_by_the_list(tmp_path, truth, lists):
    path = write_barcode_list(lists, truth)
    reading = visium.read({"counts": counted(tmp_path / "filtered.h5", truth, truth.tissue)})
    same_as_truth(reading, truth, truth.tissue)
    assert reading.adata.obs[["x_px", "y_px"]].isna().all(axis=None)
    assert reading.adata.obs["in_tissue"].all()
    assert len(reading.spots) == len(truth.barcodes)
    assert reading.spots["in_tissue"].sum() == len(truth.tissue)
    assert reading.report["positions_from"] == "barcode list"
    assert reading.report["positions_layout"] == path.name.removesuffix("_coordinates.txt")
    assert reading.report["positions_list_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reading.report["capture_area"] == truth.capture_area
    assert reading.report["in_tissue_known"] is True


def test_of_a_raw_matrix_nobody_can_tell_what_is_tissue_and_the_report_says_so(tmp_path, truth, lists):
    write_barcode_list(lists, truth)
    report = visium.read({"counts": counted(tmp_path / "raw.h5", truth, truth.every)}).report
    assert report["in_tissue_known"] is False
    assert report["spots_in_tissue"] == len(truth.counted)
    assert report["spots_kept"] == len(truth.barcodes)


def test_raw_matrices_with_and_without_silent_barcodes_have_the_same_spots_in_tissue(tmp_path, small, lists):
    write_barcode_list(lists, small)
    whole = visium.read({"counts": counted(tmp_path / "all.h5", small, small.every)})
    reads_only = visium.read({"counts": counted(tmp_path / "raw_feature_bc_matrix.h5", small, small.counted)})
    assert whole.spots["in_tissue"].tolist() == reads_only.spots["in_tissue"].tolist()
    assert whole.report["in_tissue_known"] is reads_only.report["in_tissue_known"] is False


@pytest.mark.parametrize("name", ["raw_feature_bc_matrix/matrix.mtx.gz", "GSM1_Raw_Feature_bc_Matrix_A.mtx.gz"])
def test_a_raw_triplet_is_known_by_the_name_its_owner_gave_it(tmp_path, small, lists, name):
    write_barcode_list(lists, small)
    files = {role: raw(path) for role, path in write_mex(tmp_path, block_of(small, small.counted)).items()}
    assert visium.read(files).report["in_tissue_known"] is True
    assert visium.read({**files, "counts": raw(files["counts"].path, name)}).report["in_tissue_known"] is False


def test_spots_of_a_filtered_matrix_are_in_tissue_even_without_a_count():
    kept = np.arange(0, 100, 2)
    totals = np.r_[0.0, np.ones(49)]
    in_tissue, is_known = tissue_by_counts("filtered_feature_bc_matrix.h5", 200, kept, totals)
    assert is_known
    assert np.flatnonzero(in_tissue).tolist() == kept.tolist()


@pytest.mark.parametrize(("missing", "is_known"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_matrix_of_nearly_the_whole_array_is_taken_for_raw(missing, is_known):
    assert WHOLE_FROM == 0.98
    kept = np.arange(100 - missing)
    assert tissue_by_counts("counts.h5", 100, kept, np.ones(len(kept)))[1] is is_known


def test_in_a_joint_matrix_only_the_samples_own_spots_are_in_tissue(tmp_path, small, lists):
    write_barcode_list(lists, small)
    first, second = small.tissue[:50], small.tissue[50:]
    both = stacked(block_of(small, first, before="A_"), block_of(small, second, before="B_"))
    counts = raw(write_h5_layout_3(tmp_path / "joint.h5", both))
    for member, own in (("A", first), ("B", second)):
        reading = visium.read({"counts": counts}, member=member)
        same_as_truth(reading, small, own)
        assert reading.report["spots_in_tissue"] == len(own)
        assert reading.report["in_tissue_known"] is True


def test_samples_of_a_joint_matrix_may_be_on_slides_of_different_lists(tmp_path, lists):
    one, other = draw_truth(3), draw_truth(4)
    write_barcode_list(lists, one, "visium-v1")
    write_barcode_list(lists, other, "visium-v4")
    both = stacked(block_of(one, one.tissue, before="A_"), block_of(other, other.tissue, before="B_"))
    counts = raw(write_h5_layout_3(tmp_path / "joint.h5", both))
    for member, truth, name in (("A", one, "visium-v1"), ("B", other, "visium-v4")):
        reading = visium.read({"counts": counts}, member=member)
        same_as_truth(reading, truth, truth.tissue)
        assert reading.report["positions_layout"] == name


def test_without_its_member_a_joint_matrix_without_positions_is_refused_and_listed(tmp_path, small, lists):
    write_barcode_list(lists, small)
    both = stacked(block_of(small, small.tissue, before="A_"), block_of(small, small.tissue, before="B_"))
    counts = raw(write_h5_layout_3(tmp_path / "joint.h5", both))
    with pytest.raises(Refusal, match=r"joint.h5: the table holds several samples: A \(.*B \("):
        visium.read({"counts": counts})


# --- the Loupe alignment --------------------------------------------------------------------------


def test_the_loupe_alignment_gives_pixels_and_tissue(tmp_path, truth, lists):
    write_barcode_list(lists, truth)
    loupe = write_loupe(tmp_path / "alignment.json", truth)
    reading = visium.read({"counts": counted(tmp_path / "raw.h5", truth, truth.every), "alignment": raw(loupe)})
    at = same_as_truth(reading, truth, truth.every)
    np.testing.assert_allclose(reading.adata.obs[["y_px", "x_px"]], truth.pixels[at], atol=1e-6)
    np.testing.assert_array_equal(reading.adata.obs["in_tissue"], truth.in_tissue[at])
    assert reading.report["positions_from"] == "loupe"
    assert (reading.report["in_tissue_from"], reading.report["in_tissue_known"]) == ("loupe", True)


def test_an_alignment_that_gave_the_positions_is_not_held_against_itself(tmp_path, small, lists):
    write_barcode_list(lists, small)
    loupe = write_loupe(tmp_path / "alignment.json", small)
    report = visium.read({"counts": counted(tmp_path / "f.h5", small, small.tissue), "alignment": raw(loupe)}).report
    assert report["alignment_spots"] == len(small.barcodes)
    assert report["alignment_offset_px"] is None
    assert report["alignment_offset_um"] is None
    assert report["alignment_disagrees"] is False


def test_where_loupe_selected_no_tissue_the_counts_tell_it(tmp_path, small, lists):
    write_barcode_list(lists, small)
    bare = replace(small, in_tissue=np.zeros_like(small.in_tissue))
    loupe = write_loupe(tmp_path / "alignment.json", bare)
    reading = visium.read({"counts": counted(tmp_path / "f.h5", small, small.tissue), "alignment": raw(loupe)})
    assert reading.report["in_tissue_from"] == "counts"
    assert reading.report["spots_in_tissue"] == len(small.tissue)
    assert reading.adata.obs["x_px"].notna().all()


def test_a_filtered_matrix_with_the_alignment_of_another_section_is_refused(tmp_path, small, lists):
    write_barcode_list(lists, small)
    other = replace(small, in_tissue=np.roll(small.in_tissue, 640))
    loupe = write_loupe(tmp_path / "alignment.json", other)
    with pytest.raises(Refusal, match=r"alignment.json and visium-v1 are of different sections"):
        visium.read({"counts": counted(tmp_path / "f.h5", small, small.tissue), "alignment": raw(loupe)})


@pytest.mark.parametrize(("counts_on", "aligned"), [("6.5 mm", "11 mm"), ("11 mm", "6.5 mm")])
def test_the_alignment_of_the_other_array_is_refused(tmp_path, lists, counts_on, aligned):
    own = draw_truth(3, capture_area=counts_on)
    write_barcode_list(lists, own)
    loupe = write_loupe(tmp_path / "alignment.json", draw_truth(3, capture_area=aligned))
    with pytest.raises(Refusal, match=r"alignment.json: of its .* 4,992 are among .* this slide\?") as refusal:
        visium.read({"counts": counted(tmp_path / "f.h5", own, own.tissue), "alignment": raw(loupe)})
    assert refusal.value.measured == round(4992 / 14336, 4)


def test_spots_that_an_alignment_lacks_have_no_pixels_and_the_lattice_is_fitted_to_the_others(tmp_path, small, lists):
    write_barcode_list(lists, small)
    some = np.flatnonzero(small.array[:, 0] < 50)
    part = replace(
        small,
        **{name: getattr(small, name)[some] for name in ("array", "pixels", "in_tissue", "counts")},
        barcodes=[small.barcodes[k] for k in some],
    )
    loupe = write_loupe(tmp_path / "alignment.json", part)
    reading = visium.read({"counts": counted(tmp_path / "raw.h5", small, small.every), "alignment": raw(loupe)})
    assert (reading.spots["x_px"].notna() == (reading.spots["array_row"] < 50)).all()
    assert reading.report["lattice_rotation_deg"] == pytest.approx(0.4, abs=0.01)


def test_a_positions_file_comes_before_both_and_a_different_alignment_is_reported(tmp_path, truth, lists):
    counts = counted(tmp_path / "raw.h5", truth, truth.every)
    spots = write_positions(tmp_path / "tissue_positions_list.csv", position_rows(truth, truth.every))
    moved = replace(truth, pixels=truth.pixels + int(100 / truth.pixel_size_um))
    loupe = write_loupe(tmp_path / "alignment.json", moved)
    reading = visium.read({"counts": counts, "spots": raw(spots), "alignment": raw(loupe)})
    at = same_as_truth(reading, truth, truth.every)
    np.testing.assert_array_equal(reading.adata.obs[["y_px", "x_px"]], truth.pixels[at])
    assert reading.report["positions_from"] == "positions file"
    assert reading.report["alignment_disagrees"] is True
    assert reading.report["alignment_offset_um"] == pytest.approx(100 * np.sqrt(2), abs=3)


@pytest.mark.parametrize(("um", "disagrees"), [(26, False), (29, True)])
def test_an_alignment_disagrees_from_the_radius_of_a_spot(tmp_path, small, um, disagrees):
    files = {
        "counts": counted(tmp_path / "f.h5", small, small.tissue),
        "spots": raw(write_positions(tmp_path / "p.csv", position_rows(small, small.every))),
    }
    off = np.array([0, int(um / small.pixel_size_um)])
    loupe = write_loupe(tmp_path / "alignment.json", replace(small, pixels=small.pixels + off))
    report = visium.read({**files, "alignment": raw(loupe)}).report
    assert report["alignment_offset_um"] == pytest.approx(um, abs=0.1)
    assert report["alignment_disagrees"] is disagrees


def test_the_offset_of_a_few_spots_shows_in_the_95th_percentile_alone(tmp_path, small):
    files = {
        "counts": counted(tmp_path / "f.h5", small, small.tissue),
        "spots": raw(write_positions(tmp_path / "p.csv", position_rows(small, small.every))),
    }
    off = np.zeros_like(small.pixels)
    off[: len(off) // 10, 0] = 80
    loupe = write_loupe(tmp_path / "alignment.json", replace(small, pixels=small.pixels + off))
    report = visium.read({**files, "alignment": raw(loupe)}).report
    assert report["alignment_offset_px"] == 0
    assert report["alignment_offset_p95_px"] == 80
    assert report["alignment_disagrees"] is False


# --- where the lists are --------------------------------------------------------------------------


def test_without_any_list_one_line_says_where_to_get_them(tmp_path, small, nowhere):
    with pytest.raises(
        Refusal, match=r"f.h5: there is no positions file.*Space Ranger.*SPACERANGER_BARCODES"
    ) as refusal:
        visium.read({"counts": counted(tmp_path / "f.h5", small, small.tissue)})
    assert "download page" in refusal.value.reason
    assert "\n" not in refusal.value.reason


def test_a_variable_that_names_the_wrong_folder_is_named_in_the_refusal(tmp_path, small, lists):
    with pytest.raises(Refusal, match=rf"SPACERANGER_BARCODES is {lists}, where there are none"):
        barcode_lists.matching("f.h5", small.barcodes)


def installed(folder, truth):
    """Space Ranger as it is unpacked: the lists deep inside, a link to the program on top."""
    root = folder / "spaceranger-3.0.0"
    (root / "bin").mkdir(parents=True)
    (root / "bin/spaceranger").write_text("#!/bin/sh\n")
    (root / "bin/spaceranger").chmod(0o755)
    (root / "spaceranger").symlink_to("bin/spaceranger")
    inside = root / "lib/python/cellranger/barcodes"
    inside.parent.mkdir(parents=True)
    write_barcode_list(inside, truth)
    (inside / "visium-v1.txt").write_text("AAACAACGAATAGTTC\n")
    (inside / "visium-vX_coordinates.txt").write_text("not one of them\n")
    return root


@pytest.mark.parametrize("on_path", ["", "bin"])
def test_lists_of_an_installed_space_ranger_are_found(tmp_path, small, nowhere, monkeypatch, on_path):
    root = installed(tmp_path, small)
    monkeypatch.setenv("PATH", str(root / on_path))
    assert list(barcode_lists.find()) == ["visium-v1"]


def test_lists_are_found_through_a_link_elsewhere_on_the_path(tmp_path, small, nowhere, monkeypatch):
    root = installed(tmp_path, small)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/spaceranger").symlink_to(root / "spaceranger")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert list(barcode_lists.find()) == ["visium-v1"]


def test_the_variable_may_name_the_folder_of_the_software_and_comes_before_the_path(tmp_path, small, monkeypatch):
    root = installed(tmp_path / "a", small)
    monkeypatch.setenv("PATH", str(installed(tmp_path / "b", small) / "bin"))
    monkeypatch.setenv(barcode_lists.VARIABLE, str(root))
    assert barcode_lists.find()["visium-v1"].is_relative_to(root)
    monkeypatch.setenv(barcode_lists.VARIABLE, str(tmp_path))
    assert barcode_lists.find() == {}


# --- which list -----------------------------------------------------------------------------------


def shuffled(truth):
    """The same barcodes at other places."""
    return replace(truth, array=truth.array[::-1].copy())


def test_lists_that_agree_are_one_and_lists_that_disagree_are_refused(tmp_path, small):
    first = write_barcode_list(tmp_path, small, "visium-v1")
    same = {"visium-v1": first, "visium-v2": write_barcode_list(tmp_path, small, "visium-v2")}
    assert barcode_lists.matching("counts.h5", small.barcodes, same).name == "visium-v1"
    other = {"visium-v1": first, "visium-v4": write_barcode_list(tmp_path, shuffled(small), "visium-v4")}
    with pytest.raises(Refusal, match="visium-v1, visium-v4 all hold its barcodes, at different places") as refusal:
        barcode_lists.matching("counts.h5", small.barcodes, other)
    assert refusal.value.measured == 2


@pytest.mark.parametrize(
    ("serial_number", "name"),
    [
        ("V10A13-001", "visium-v1"),
        ("V19L29-098", "visium-v1"),
        ("V42A20-353", "visium-v4"),
        ("v42a20-353", "visium-v4"),
    ],
)
def test_the_serial_number_of_the_slide_decides_between_lists_that_disagree(tmp_path, small, serial_number, name):
    lists = {
        "visium-v1": write_barcode_list(tmp_path, small, "visium-v1"),
        "visium-v2": write_barcode_list(tmp_path, small, "visium-v2"),
        "visium-v4": write_barcode_list(tmp_path, shuffled(small), "visium-v4"),
    }
    assert barcode_lists.matching("c.h5", small.barcodes, lists, serial_number=serial_number).name == name


@pytest.mark.parametrize("serial_number", ["", "H1-ABC", "V52Y10-337"])
def test_a_serial_number_of_no_list_decides_nothing(tmp_path, small, serial_number):
    lists = {
        "visium-v1": write_barcode_list(tmp_path, small, "visium-v1"),
        "visium-v4": write_barcode_list(tmp_path, shuffled(small), "visium-v4"),
    }
    with pytest.raises(Refusal, match="at different places; give a positions file, or the Loupe alignment"):
        barcode_lists.matching("c.h5", small.barcodes, lists, serial_number=serial_number)


def test_the_serial_number_of_the_alignment_reaches_the_lists(tmp_path, small, lists):
    write_barcode_list(lists, shuffled(small), "visium-v1")
    write_barcode_list(lists, small, "visium-v4")
    loupe = write_loupe(tmp_path / "alignment.json", small, serial_number="V42A20-353")
    reading = visium.read({"counts": counted(tmp_path / "f.h5", small, small.tissue), "alignment": raw(loupe)})
    same_as_truth(reading, small, small.tissue)
    assert reading.report["positions_layout"] == "visium-v4"


def test_barcodes_of_another_kind_of_slide_are_refused_with_the_share(tmp_path, small):
    path = write_barcode_list(tmp_path, small)
    with pytest.raises(Refusal, match=r"in none of Space Ranger's lists at hand \(visium-v1; visium-v1 has") as refusal:
        barcode_lists.matching("counts.h5", ["A" * 16, "C" * 16, small.barcodes[0]], {"visium-v1": path})
    assert refusal.value.measured == pytest.approx(1 / 3, abs=1e-3)
    assert refusal.value.threshold == barcode_lists.SHARE


@pytest.mark.parametrize(("strangers", "is_found"), [(1, True), (2, False)])
def test_one_barcode_of_a_hundred_may_be_unknown(tmp_path, small, strangers, is_found):
    lists = {"visium-v1": write_barcode_list(tmp_path, small)}
    cores = [*small.barcodes[: 100 - strangers], *("A" * 16, "C" * 16)[:strangers]]
    if is_found:
        assert barcode_lists.matching("counts.h5", cores, lists).name == "visium-v1"
    else:
        with pytest.raises(Refusal, match="in none of"):
            barcode_lists.matching("counts.h5", cores, lists)


# --- lists that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["<html></html>\n", "", "AAACAACGAATAGTTC\t0\t1\n", "AAACAACGAATAGTTC\tx\ty\n", "A\t1\t1\nA\t1\t1\t1\t1\n"],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    path = tmp_path / "visium-v1_coordinates.txt"
    path.write_text(content)
    with pytest.raises(Refusal, match=r"visium-v1_coordinates.txt: no list of barcodes") as refusal:
        barcode_lists.matching("counts.h5", ["A" * 16], {"visium-v1": path})
    assert "\n" not in refusal.value.reason


def lines_of(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [[code, row, column] for code, column, row in rows],
        lambda rows: [[code, str(int(column) + 1), row] for code, column, row in rows],
        lambda rows: [*rows[:-1], [rows[0][0], *rows[-1][1:]]],
        lambda rows: [*rows[:-1], [rows[-1][0], *rows[0][1:]]],
    ],
    ids=["cut short", "columns swapped", "counted from 2", "a barcode twice", "a place twice"],
)
def test_a_list_that_does_not_fill_an_array_once_is_refused(tmp_path, small, change):
    path = write_barcode_list(tmp_path, small)
    path.write_text("".join("\t".join(row) + "\n" for row in change(lines_of(path))))
    with pytest.raises(Refusal, match=r"do not fill an array once \(6.5 mm: 4,992, 11 mm: 14,336 places\)"):
        barcode_lists.matching("counts.h5", small.barcodes[:500], {"visium-v1": path})


def test_a_list_of_a_slide_yet_unknown_does_not_stand_in_the_way(tmp_path, small):
    path = tmp_path / "visium-v9_coordinates.txt"
    path.write_text("ACGTACGTACGTACGT\t1\t1\n")
    lists = {"visium-v1": write_barcode_list(tmp_path, small), "visium-v9": path}
    assert barcode_lists.matching("counts.h5", small.barcodes, lists).name == "visium-v1"


def test_barcodes_of_a_list_may_carry_a_suffix(tmp_path, small):
    path = write_barcode_list(tmp_path, small)
    path.write_text("".join(f"{code}-1\t{column}\t{row}\n" for code, column, row in lines_of(path)))
    found = barcode_lists.matching("counts.h5", small.barcodes, {"visium-v1": path})
    place = dict(zip(found.barcodes, map(tuple, found.array.tolist()), strict=True))
    assert place == dict(zip(small.barcodes, map(tuple, small.array.tolist()), strict=True))


# --- real sections --------------------------------------------------------------------------------


def real_positions(folder):
    """A section's own positions as filed."""
    found = sorted(folder.glob("**/tissue_positions_list.*"))[0]
    return pd.read_csv(found, header=None, names=["barcode", "in_tissue", "row", "col", "y", "x"]), raw(found)


def real_list(folder, positions):
    """The list that a section's own positions imply."""
    folder.mkdir(exist_ok=True)
    core = positions["barcode"].str.removesuffix("-1")
    table = pd.DataFrame({"barcode": core, "col": positions["col"] + 1, "row": positions["row"] + 1})
    path = folder / "visium-v1_coordinates.txt"
    table.to_csv(path, sep="\t", header=False, index=False)
    return path


def real_counts(name):
    folder = SECTIONS[name]
    inside = "filtered_feature_bc_matrix"
    if name == "anterior":
        return {"counts": raw(folder / f"{inside}.h5")}
    names = {"counts": "matrix.mtx.gz", "features": "features.tsv.gz", "barcodes": "barcodes.tsv.gz"}
    return {role: raw(folder / inside / file, f"{inside}/{file}") for role, file in names.items()}


@needs_data
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_real_section_is_placed_as_its_positions_say_by_the_list_of_another_slide(name, tmp_path, lists):
    other, _ = real_positions(DATA / "dlpfc/151673")
    real_list(lists, other)
    positions, filed = real_positions(SECTIONS[name])
    reading = visium.read(real_counts(name))
    spots = reading.spots.set_index("spot_id").loc[positions["barcode"]]
    for column, own in (("array_row", "row"), ("array_col", "col"), ("in_tissue", "in_tissue")):
        assert spots[column].tolist() == positions[own].tolist()
    assert reading.report["in_tissue_known"] is True
    assert reading.report["capture_area"] == "6.5 mm"
    with_positions = visium.read({**real_counts(name), "spots": filed})
    assert (reading.adata.X != with_positions.adata.X).nnz == 0
    assert list(reading.adata.obs_names) == list(with_positions.adata.obs_names)


@needs_data
def test_real_slides_of_the_first_version_share_one_map():
    folders = [*SECTIONS.values(), *(DATA / "dlpfc" / section for section in ("151507", "151669", "151676"))]
    maps = []
    for folder in folders:
        positions, _ = real_positions(folder)
        maps.append(set(zip(positions["barcode"], positions["row"], positions["col"], strict=True)))
    assert len(maps[0]) == 4992
    assert all(one == maps[0] for one in maps[1:])


@needs_data
def test_the_order_of_a_list_does_not_matter_to_a_real_section(tmp_path, lists):
    real_list(lists, real_positions(SECTIONS["posterior"])[0].sample(frac=1, random_state=0))
    with gzip.open(SECTIONS["posterior"] / "filtered_feature_bc_matrix/barcodes.tsv.gz", "rt") as text:
        filed = text.read().split()
    assert sorted(visium.read(real_counts("posterior")).adata.obs_names) == sorted(filed)
