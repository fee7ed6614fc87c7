"""Onboarding: listings in the style of real deposits become tables; what names do not tell is asked, not guessed."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from real_data import DATA, NOT_HERE
from spotweave.errors import Refusal
from spotweave.intake.layouts import assign, matches
from spotweave.intake.recognise import recognise
from spotweave.onboard import accession as accessions
from spotweave.onboard import draft as onboard
from spotweave.onboard.samples import group_files
from spotweave.onboard.table import Draft, faults, open_questions, write
from spotweave.readers import layout
from spotweave.sources import SOURCES
from spotweave.transfer.files import FetchSettings, Listed, Listing

ROOT = Path(__file__).resolve().parents[2]
HER2ST = DATA / "her2st"
COMMIT = "9f2260c6aa8347996955d53f0a5f06ac14c93470"

VISIUM = ("filtered_feature_bc_matrix.h5", "tissue_positions_list.csv", "scalefactors_json.json")
# A whole deposit each: source, accession, sample -> its files, files of no sample.
GSE175540 = (
    "geo",
    "GSE175540",
    {
        f"GSM59240{number}": [
            f"GSM59240{number}_{label}_{name}"
            for name in (VISIUM[0], f"{VISIUM[1]}.gz", f"{VISIUM[2]}.gz", "tissue_hires_image.png.gz")
        ]
        for number, label in ((30, "ffpe_c_2"), (31, "ffpe_c_20"), (32, "frozen_a_1"))
    },
    ["GSE175540_RAW.tar"],
)
GSE190811 = (
    "geo",
    "GSE190811",
    {
        f"GSM573235{number}": [
            f"GSM573235{number}_{label}_{name}"
            for name in ("raw_feature_bc_matrix.h5", "spatial.tar.gz", "image.tif.gz")
        ]
        for number, label in ((7, "A"), (8, "B"), (9, "C"))
    },
    ["GSE190811_RAW.tar"],
)
GSE144240 = (
    "geo",
    "GSE144240",
    {
        **{
            f"GSM428431{number}": [
                f"GSM428431{number}_{label}_stdata.tsv.gz",
                f"GSM428431{number}_spot_data-selection-{label}.tsv.gz",
                f"GSM428431{number}_{label}.jpg.gz",
            ]
            for number, label in ((6, "P2_ST_rep1"), (7, "P2_ST_rep2"), (9, "P10_ST_rep1"))
        },
        "GSM4565823": [
            f"GSM4565823_P4_rep1_{name}.gz"
            for name in ("matrix.mtx", "features.tsv", "barcodes.tsv", *VISIUM[1:], "tissue_hires_image.png")
        ],
    },
    ["GSE144236_cSCC_counts.txt.gz", "GSE144236_patient_metadata_new.txt.gz", "GSE144240_RAW.tar"],
)
GSE206391 = (
    "geo",
    "GSE206391",
    {
        f"GSM62529{number}": [f"GSM62529{number}_{label}_{name}.gz" for name in ("HE.tif", *VISIUM[1:])]
        for number, label in ((20, "1-V19S23-004-V1"), (21, "1-V19S23-004-V2"))
    },
    ["GSE206391_Preprocessed_data.h5", "GSE206391_RAW.tar"],
)
ERICKSON = (
    "mendeley",
    "svw96g68dv/5",
    {
        label: [f"Count_matrices/{counts}/{name}" for name in VISIUM] + [f"Histological_images/{image}.jpg"]
        for label, counts, image in (
            ("Patient_1/H1_2", "Patient 1/Visium_with_annotation/H1_2", "Patient_1/Visium/H1_2"),
            ("Patient_1/V1_2", "Patient 1/Visium_with_annotation/V1_2", "Patient_1/Visium/V1_2"),
            ("Patient_2/V1_2", "Patient 2/V1_2", "Patient_2/V1_2"),
            ("Patient_2/V2_2", "Patient 2/V2_2", "Patient_2/V2_2"),
        )
    },
    ["Annotations/all.csv", "README.txt"],
)
HE_2020 = (
    "mendeley",
    "29ntw7sh4r/5",
    {
        label: [f"{label}_stdata.tsv.gz", f"spots_{label}.csv.gz", f"HE_{label}.jpg", f"{label}_Coords.tsv"]
        for label in ("BC23287_C1", "BC23287_C2", "BC23803_E2")
    },
    ["metadata.csv"],
)
HER2ST_REPOSITORY = (
    "github",
    f"almaan/her2st@{COMMIT}",
    {
        label: [
            f"data/ST-cnts/{label}.tsv.gz",
            f"data/ST-imgs/{label[0]}/{label}/HE_BT_{block}.jpg",
            f"data/ST-spotfiles/{label}_selection.tsv",
        ]
        for label, block in (("A1", "D1"), ("A2", "D2"), ("H3", "E1"))
    },
    ["README.md", "scripts/plot.py", "res/ST-cluster/clusters.csv"],
)
VALDEOLIVAS = (
    "zenodo",
    "7760264",
    {label: [f"{label}.zip"] for label in ("SN048_A121573_Rep1", "SN048_A121573_Rep2", "SN84_A120838_Rep1")},
    ["code.zip"],
)
FOLDERS = (
    "file",
    "/data/study",
    {
        f"S{number}": [f"S{number}/outs/{VISIUM[0]}", f"S{number}/outs/spatial/{VISIUM[1]}", f"S{number}/scan.ndpi"]
        for number in (1, 2, 10)
    },
    ["notes.txt"],
)
STEMS = (
    "zenodo",
    "5",
    {label: [f"{label}_{name}" for name in (*VISIUM, "full_image.tif")] for label in ("A1", "A10", "151507", "151508")},
    [],
)
HALF_PACKED = (
    "zenodo",
    "6",
    {
        label: [f"{label}_{name}" for name in (VISIUM[0], "image.tif", "spatial.tar.gz")]
        for label in ("A1", "A10", "B1")
    },
    [],
)
HEST = (
    "huggingface",
    "MahmoodLab/hest",
    {
        label: [f"st/{label}.h5ad", f"wsis/{label}.tif", f"patches/{label}.h5", f"thumbnails/{label}.jpg"]
        for label in ("INT1", "INT10", "TENX95")
    },
    ["HEST_v1_1_0.csv", "README.md"],
)
DEPOSITS = {
    "GSE175540": GSE175540,
    "GSE190811": GSE190811,
    "GSE144240": GSE144240,
    "GSE206391": GSE206391,
    "Erickson": ERICKSON,
    "He 2020": HE_2020,
    "her2st repository": HER2ST_REPOSITORY,
    "Valdeolivas": VALDEOLIVAS,
    "folders": FOLDERS,
    "stems": STEMS,
    "half packed": HALF_PACKED,
    "HEST": HEST,
}
every_deposit = pytest.mark.parametrize("name", DEPOSITS)


def listing(accession: str, names: list[str], licence: str | None = None, title: str | None = None) -> Listing:
    return Listing(accession, tuple(Listed(name, f"{accession}/{name}") for name in names), licence, title)


def drafted(name: str, **about: str) -> Draft:
    source, accession, samples, shared = DEPOSITS[name]
    names = [*(file for found in samples.values() for file in found), *shared]
    return onboard.draft(listing(accession, names, **about), source, "cohort")


@every_deposit
def test_files_are_sorted_into_samples(name: str) -> None:
    _, _, samples, shared = DEPOSITS[name]
    found = group_files([*(file for files in samples.values() for file in files), *shared])
    assert sorted(group.names for group in found.groups) == sorted(tuple(sorted(files)) for files in samples.values())
    assert set(found.shared) == set(shared)


@every_deposit
@given(st.randoms(use_true_random=False))
@settings(max_examples=4, deadline=None)
def test_the_order_of_a_listing_changes_nothing(name: str, random) -> None:
    _, _, samples, shared = DEPOSITS[name]
    names = [*(file for files in samples.values() for file in files), *shared]
    expected = group_files(names)
    random.shuffle(names)
    assert group_files(names) == expected


@every_deposit
def test_the_fetch_finds_what_the_draft_promises(name: str) -> None:
    """Each row, taken as the fetch takes it, leads to the sample's own files, or says where it does not."""
    source, accession, samples, shared = DEPOSITS[name]
    everything = [*(file for files in samples.values() for file in files), *shared]
    draft = drafted(name)
    assert len(draft.rows) == len(samples)
    for index, row in enumerate(draft.rows):
        own = next(files for files in samples.values() if _is_of(row, files))
        reader = recognise(own).reader
        if source == "geo":
            assert row["accession"] in samples
            seen = samples[row["accession"]]  # the folder of the GEO sample
        else:
            assert row["accession"] == accession
            seen = [file for file in everything if matches(file, row["files"])]
        if not reader:
            assert row["technology"] == "?"
            continue
        found = assign(seen, reader)
        given = {role: row[role] for role in (*layout(reader).roles.needed, "spots") if row.get(role)}
        for role in layout(reader).roles.needed:
            if role in given:
                assert given[role] in own or given[role] == "?" or given[role].startswith("geo:GSE206391/")
            elif role not in found.roles:
                packed = {row.get("spatial"), row.get("bundle"), *found.archives} - {None, ""}
                assert packed & set(own), (name, index, role)
            else:
                assert found.roles[role] in own
        for column in ("spatial", "bundle"):
            assert not row.get(column) or row[column] in own


def _is_of(row: dict[str, str], files: list[str]) -> bool:
    label = row["subseries"].rpartition("/")[2]
    patient = re.search(r"Patient_\d", row["subseries"])
    spelt = [file.replace("Patient ", "Patient_") for file in files]
    return any(re.search(rf"(?<![A-Za-z0-9]){re.escape(label)}(?![A-Za-z0-9])", file) for file in spelt) and (
        not patient or any(patient[0] in file for file in spelt)
    )


@every_deposit
def test_every_question_mark_has_its_question_and_none_is_left_over(name: str) -> None:
    draft = drafted(name)
    marks = {(index, column) for index, row in enumerate(draft.rows) for column, cell in row.items() if cell == "?"}
    assert set(draft.questions) == marks
    assert all("; look at " in question for question in draft.questions.values())
    assert len({row["sample_id"] for row in draft.rows}) == len(draft.rows)


@every_deposit
def test_a_draft_has_no_faults_but_its_questions(name: str, tmp_path: Path) -> None:
    draft = drafted(name)
    path = tmp_path / "cohort.csv"
    write(draft, path)
    assert faults(path, ROOT, draft) == []


def test_a_filled_draft_is_a_table_the_workflow_takes(tmp_path: Path) -> None:
    draft = drafted("He 2020", licence="CC BY 4.0", title="Human breast tumours")
    answers = {"donor": "he-BC23287", "disease_state": "cancer", "preservation": "fresh_frozen", "study_link": ""}
    for index, column in list(draft.questions):
        draft.rows[index][column] = answers[column]
    draft.questions.clear()
    path = tmp_path / "he.csv"
    write(draft, path)
    assert faults(path, ROOT, draft) == []
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["sample_id"] for row in rows] == ["cohort-BC23287-C1", "cohort-BC23287-C2", "cohort-BC23803-E2"]
    assert rows[0]["licence"] == "CC-BY-4.0" and rows[0]["species"] == "Homo sapiens" and rows[0]["organ"] == "Breast"


def test_other_faults_of_a_draft_are_reported(tmp_path: Path) -> None:
    draft = drafted("He 2020")
    draft.rows[1]["url_confidence"] = "sure"
    path = tmp_path / "he.csv"
    write(draft, path)
    found = faults(path, ROOT, draft)
    assert len(found) == 1 and found[0].startswith(f"{path}:3:url_confidence: 'sure'")


def test_a_sample_of_geo_is_its_own_accession_and_needs_no_pattern() -> None:
    rows = drafted("GSE144240").rows
    assert [row["accession"] for row in rows] == ["GSM4284316", "GSM4284317", "GSM4284319", "GSM4565823"]
    assert not any(row["files"] for row in rows)
    assert [row["technology"] for row in rows] == ["Spatial Transcriptomics"] * 3 + ["Visium"]
    assert [row["subseries"] for row in rows] == ["P2_ST_rep1", "P2_ST_rep2", "P10_ST_rep1", "P4_rep1"]
    assert [row["donor"] for row in rows] == ["cohort-P2", "cohort-P2", "cohort-P10", "cohort-P4"]


def test_single_cells_beside_the_sections_are_left_out_and_said_so() -> None:
    source, accession, samples, shared = GSE144240
    cells = [f"GSM4284326_P1_cSCC_{name}.gz" for name in ("matrix.mtx", "features.tsv", "barcodes.tsv")]
    names = [*(file for files in samples.values() for file in files), *shared, *cells]
    draft = onboard.draft(listing(accession, names), source, "cohort")
    assert len(draft.rows) == len(samples)
    assert any("GSM4284326_P1_cSCC: left out" in remark for remark in draft.remarks)
    assert any("GSE144236_cSCC_counts.txt.gz" in remark for remark in draft.remarks)
    assert not any("RAW.tar" in remark for remark in draft.remarks)


def test_a_series_with_reduced_pictures_only_says_that_the_slide_is_missing() -> None:
    draft = drafted("GSE175540")
    for index, row in enumerate(draft.rows):
        assert row["image"] == "?"
        assert "only a reduced picture is there" in draft.questions[index, "image"]
    assert [row["preservation"] for row in draft.rows] == ["ffpe", "ffpe", "?"]


def test_a_joint_matrix_of_a_series_is_named_and_its_parts_are_asked_for() -> None:
    draft = drafted("GSE206391")
    for index, row in enumerate(draft.rows):
        assert row["counts"] == "geo:GSE206391/GSE206391_Preprocessed_data.h5"
        assert row["member"] == "?" and (index, "member") in draft.questions


def test_sections_of_equal_name_under_two_patients_stay_apart() -> None:
    rows = drafted("Erickson").rows
    assert [row["donor"] for row in rows] == ["cohort-P1", "cohort-P1", "cohort-P2", "cohort-P2"]
    assert len({row["files"] for row in rows}) == 4
    assert all(" " not in part for row in rows for part in row["files"].split())


def test_several_files_of_one_role_are_asked_with_their_names() -> None:
    names = [f"A1_{name}" for name in (*VISIUM, "left.tif", "right.tif")]
    draft = onboard.draft(listing("5", names), "zenodo", "cohort")
    assert len(draft.rows) == 1 and draft.rows[0]["image"] == "?"
    assert "A1_left.tif, A1_right.tif" in draft.questions[0, "image"]


def test_archives_by_kind_of_file_are_pointed_out() -> None:
    draft = onboard.draft(
        listing("4751624", ["count-matrices.zip", "images.zip", "spot-selections.zip"]), "zenodo", "c"
    )
    assert len(draft.rows) == 1
    assert any("3 archives and nothing else" in remark and "!<member>" in remark for remark in draft.remarks)


def test_half_packed_samples_name_their_files_and_take_none_of_the_others() -> None:
    rows = drafted("half packed").rows
    assert [row["spatial"] for row in rows] == [f"{label}_spatial.tar.gz" for label in ("A1", "A10", "B1")]
    assert all(row["counts"].startswith(row["subseries"]) and not row["files"] for row in rows)
    source, accession, samples, _ = HALF_PACKED
    names = [*(file for files in samples.values() for file in files), "B1_alignment_file.json"]
    draft = onboard.draft(listing(accession, names), source, "cohort")
    assert [row.get("alignment") for row in draft.rows] == ["?", "?", "B1_alignment_file.json"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["paper.pdf", "README.md"], "none of which looks like counts"),
        (["counts.7z", "images.7z"], "unpack the 7z"),
        ([], "0 files"),
    ],
)
def test_a_deposit_without_samples_is_refused(names: list[str], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        onboard.draft(listing("1", names), "zenodo", "cohort")


@pytest.mark.parametrize(
    ("accession", "title", "expected"),
    [
        ("xenium/1.6.0/Xenium_V1_hPancreas_Cancer_FFPE", None, ("Homo sapiens", "Pancreas", "cancer", "ffpe")),
        ("xenium/1.9.0/Xenium_V1_mBrain_FF", None, ("Mus musculus", "Brain", "?", "fresh_frozen")),
        ("spatial-exp/1.0.0/X", "Human healthy and cancerous skin", ("Homo sapiens", "Skin", "?", "?")),
        ("spatial-exp/1.0.0/X", "Mouse and human kidney", ("?", "Kidney", "?", "?")),
        ("spatial-exp/1.0.0/X", "Squamous cell carcinoma of the colon and the lung", ("?", "?", "cancer", "?")),
        ("spatial-exp/1.0.0/Brainstorm", "Manhattan project", ("?", "?", "?", "?")),
        ("spatial-exp/1.0.0/X_Normal", "Prostate cancer", ("?", "Prostate", "healthy", "?")),
    ],
)
def test_only_what_names_say_plainly_is_written(accession: str, title: str | None, expected: tuple[str, ...]) -> None:
    sample = accession.rpartition("/")[2]
    draft = onboard.draft(listing(accession, [f"{sample}_spatial.tar.gz"], title=title), "tenx", "cohort")
    row = draft.rows[0]
    assert tuple(row[column] for column in ("species", "organ", "disease_state", "preservation")) == expected
    for column in ("species", "organ", "disease_state", "preservation"):
        assert (row[column] == "?") != any(key[0] == column for key in draft.suggested)
    assert row["oncotree_code"] == ("?" if row["disease_state"] == "cancer" else "")


def test_the_age_of_a_mouse_is_no_donor() -> None:
    names = [f"P7_{name}" for name in (*VISIUM, "HE.tif")]
    assert onboard.draft(listing("5", names, title="Mouse brain"), "zenodo", "c").rows[0]["donor"] == "?"
    assert onboard.draft(listing("5", names, title="Human brain"), "zenodo", "c").rows[0]["donor"] == "c-P7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC BY NC 3.0", "CC-BY-NC-3.0"),
        ("CC-BY-NC-ND 4.0", "CC-BY-NC-ND-4.0"),
        ("CC0", "CC0-1.0"),
        ("CC BY", "?"),
        ("see the paper", "?"),
        (None, "?"),
    ],
)
def test_licences_become_spdx_identifiers_or_questions(text: str | None, expected: str) -> None:
    assert drafted("He 2020", licence=text).rows[0]["licence"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GSE190811", ("geo", "GSE190811")),
        ("GSM5732357", ("geo", "GSM5732357")),
        ("https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE190811", ("geo", "GSE190811")),
        ("10.5281/zenodo.4751624", ("zenodo", "4751624")),
        ("https://doi.org/10.5281/zenodo.4751624", ("zenodo", "4751624")),
        ("https://zenodo.org/records/7760264", ("zenodo", "7760264")),
        ("https://zenodo.org/record/7760264/files/a.zip?download=1", ("zenodo", "7760264")),
        ("10.6084/m9.figshare.17087765.v2", ("figshare", "17087765/versions/2")),
        ("https://figshare.com/articles/dataset/A_title/17087765/2", ("figshare", "17087765/versions/2")),
        ("https://figshare.com/articles/dataset/A_title/17087765", ("figshare", "17087765")),
        ("10.17632/svw96g68dv.5", ("mendeley", "svw96g68dv/5")),
        ("https://data.mendeley.com/datasets/svw96g68dv/5", ("mendeley", "svw96g68dv/5")),
        ("svw96g68dv/5", ("mendeley", "svw96g68dv/5")),
        ("doi.org/10.5061/dryad.x0k6djhmx", ("dryad", "10.5061/dryad.x0k6djhmx")),
        ("https://datadryad.org/stash/dataset/doi:10.5061/dryad.x0k6djhmx", ("dryad", "10.5061/dryad.x0k6djhmx")),
        ("E-MTAB-11114", ("biostudies", "E-MTAB-11114")),
        ("S-BSST1184", ("biostudies", "S-BSST1184")),
        ("https://www.ebi.ac.uk/biostudies/studies/S-BSST1184", ("biostudies", "S-BSST1184")),
        ("syn51133602", ("synapse", "syn51133602")),
        ("https://www.synapse.org/Synapse:syn51133602/wiki/", ("synapse", "syn51133602")),
        ("957261f7-2bd6-4358-a6ed-24ee080d5cfc", ("hca", "957261f7-2bd6-4358-a6ed-24ee080d5cfc")),
        (
            "https://explore.data.humancellatlas.org/projects/957261f7-2bd6-4358-a6ed-24ee080d5cfc",
            ("hca", "957261f7-2bd6-4358-a6ed-24ee080d5cfc"),
        ),
        ("MahmoodLab/hest", ("huggingface", "MahmoodLab/hest")),
        ("https://huggingface.co/datasets/MahmoodLab/hest/tree/main/st", ("huggingface", "MahmoodLab/hest@main")),
        ("https://huggingface.co/datasets/MahmoodLab/hest", ("huggingface", "MahmoodLab/hest")),
        (f"almaan/her2st@{COMMIT}", ("github", f"almaan/her2st@{COMMIT}")),
        (f"https://github.com/almaan/her2st/tree/{COMMIT}/data", ("github", f"almaan/her2st@{COMMIT}")),
        ("xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE", ("tenx", "xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE")),
        (
            "https://cf.10xgenomics.com/samples/spatial-exp/1.1.0/V1_Heart/V1_Heart_image.tif",
            ("tenx", "spatial-exp/1.1.0/V1_Heart"),
        ),
        ("2016/07", ("spatial_research", "2016/07")),
    ],
)
def test_the_source_is_told_by_the_look_of_an_accession(text: str, expected: tuple[str, str]) -> None:
    assert accessions.detect_source(text) == expected
    assert re.fullmatch(SOURCES.constant(expected[0], "ACCESSION"), expected[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4751624", "figshare or zenodo; say which with --source"),
        ("no such thing", "neither a folder"),
        ("GSX12", "neither a folder"),
        ("https://www.10xgenomics.com/datasets/human-heart", "closed to programs"),
        ("https://data.mendeley.com/datasets/svw96g68dv", "add the version"),
        ("https://github.com/almaan/her2st", "add the commit"),
        ("https://example.invalid/data", "not the address of a deposit"),
    ],
)
def test_an_accession_that_could_be_anything_is_not_guessed(text: str, reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        accessions.detect_source(text)


def test_each_source_example_is_told_apart_from_the_others() -> None:
    examples = {source: SOURCES.constant(source, "EXAMPLE") for source in SOURCES.names()}
    for source, example in examples.items():
        if source in accessions.ANYTHING or example.isdigit():
            continue
        assert accessions.detect_source(example) == (source, example)


def test_the_longest_look_of_an_address_tells_its_source() -> None:
    address = f"https://github.com/almaan/her2st/tree/{COMMIT}/GSE144240/E-MTAB-11114"
    assert accessions.detect_source(address) == ("github", f"almaan/her2st@{COMMIT}")


def test_a_folder_that_is_here_is_a_folder(tmp_path: Path) -> None:
    assert accessions.detect_source(str(tmp_path)) == ("file", str(tmp_path))


@pytest.mark.parametrize(
    ("source", "accession", "name"),
    [
        ("geo", "GSE190811", "gse190811"),
        ("zenodo", "7760264", "zenodo-7760264"),
        ("mendeley", "svw96g68dv/5", "mendeley-svw96g68dv-5"),
        ("huggingface", "MahmoodLab/hest@main", "hest"),
        ("tenx", "xenium/2.0.0/Xenium_V1_x", "xenium-v1-x"),
        ("file", "/data/My study/", "my-study"),
        ("file", "..", "file"),
    ],
)
def test_cohorts_get_names_that_are_fit_for_files(source: str, accession: str, name: str) -> None:
    assert accessions.cohort_name(source, accession) == name


def test_rows_that_ask_the_same_share_a_line() -> None:
    draft = drafted("GSE144240")
    lines = open_questions(draft, Path("c.csv"))
    assert [line for line in lines if ":study_link:" in line] == [
        "c.csv:2-5:study_link: address of the publication (https://doi.org/…); blank if there is none; look at"
        " https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE144240"
    ]
    assert [line.partition(": only")[0] for line in lines if ":image:" in line] == ["c.csv:5:image"]


def test_a_table_that_is_there_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("mine\n")
    draft = drafted("stems")
    with pytest.raises(FileExistsError, match="--force"):
        write(draft, path)
    assert path.read_text() == "mine\n"
    write(draft, path, force=True)
    first = path.read_bytes()
    write(drafted("stems"), path, force=True)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["cohort.csv"]


def new_cohort(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/new_cohort.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_drafts_a_folder_and_says_what_remains(tmp_path: Path) -> None:
    for file in (file for files in FOLDERS[2].values() for file in files):
        (tmp_path / "study" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "study" / file).write_bytes(b"x")
    out = tmp_path / "mine.csv"
    done = new_cohort(str(tmp_path / "study"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "3 samples from 9 files" in done.stdout and f"{out}:2-4:donor: whose tissue this is" in done.stdout
    assert "Faults" not in done.stdout
    with open(out, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["sample_id"] for row in rows] == ["mine-S1", "mine-S2", "mine-S10"]
    found = SOURCES.load("file").list_files(rows[0]["accession"], FetchSettings())
    seen = [file.name for file in found.files if matches(file.name, rows[0]["files"])]
    assert set(assign(seen, "visium").roles) == {"counts", "spots", "image"}
    again = new_cohort(str(tmp_path / "study"), "--out", str(out))
    assert again.returncode == 1 and "--force" in again.stderr and "Traceback" not in again.stderr
    assert new_cohort(str(tmp_path / "study"), "--out", str(out), "--force").returncode == 0


def test_the_command_says_in_one_line_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(b"x")
    for arguments in ((str(tmp_path),), ("4751624",), ("GSE1", "--source", "nosuch")):
        done = new_cohort(*arguments, "--out", str(tmp_path / "out.csv"))
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "out.csv").exists()


def test_real_sections_of_her2st_become_rows() -> None:
    if not HER2ST.is_dir():
        pytest.skip(f"{NOT_HERE}{HER2ST}")
    found = SOURCES.load("file").list_files(str(HER2ST), FetchSettings())
    draft = onboard.draft(found, "file", "her2st")
    assert [row["sample_id"] for row in draft.rows] == [f"her2st-{s}" for s in ("A1", "B4", "C2", "C3", "C4", "C5")]
    assert [row["files"] for row in draft.rows] == [f"{s}*" for s in ("A1", "B4", "C2", "C3", "C4", "C5")]
    # The picture of A1 is a masked copy.
    assert [row.get("image", "") for row in draft.rows] == ["?", "", "", "", "", ""]
    assert any("nonzero_spots_per_gene.csv.gz" in remark for remark in draft.remarks)
