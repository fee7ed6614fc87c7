"""Each kind of bad input: one clear line, that sample in quarantine, the others finished."""

import csv
import gzip
import html
import re
import shutil

import pytest
import yaml
from PIL import Image

from project import ROOT, SMALL, Project, plan

CONFIG = {**SMALL, "cohorts": ["config/cohorts/bad.csv"], "encoders": [], "tasks": [], "select": "subseries=taken"}
# Cells that name no file: each refuses its sample, none stops the run.
NO_PLACES = {
    "no-such-user": ("~nosuch/x.tsv", "there is no user 'nosuch' here"),
    "token-gone": ("https://deposit.invalid/demo/gone.tsv.gz?token=hunter2&X-Amz-Signature=hunter2", "404"),
}
# As many reasons, and as long, as no command line could hold.
LEFT_OUT = 10_000


def spoil_counts(change):
    """A counts file with one cell of its second row changed."""

    def spoil(folder):
        path = folder / "counts.tsv.gz"
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        cells = lines[2].split("\t")
        cells[3] = change
        lines[2] = "\t".join(cells)
        path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))

    return spoil


def reduce_picture(folder):
    with Image.open(folder / "section.jpg") as image:
        image.resize((image.width // 2, image.height // 2)).save(folder / "section.jpg")


def few_spots(folder):
    lines = (folder / "spots.tsv").read_text().splitlines()
    header = lines[0].split("\t")
    selected = header.index("selected")
    rows = [line.split("\t") for line in lines[1:]]
    left = 9
    for row in rows:
        row[selected] = "1" if row[selected] == "1" and left > 0 else "0"
        left -= row[selected] == "1"
    (folder / "spots.tsv").write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")


def no_counts(folder):
    path = folder / "counts.tsv.gz"
    header, *rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    zeros = [row.split("\t")[0] + "\t0" * header.count("\t") for row in rows]
    path.write_bytes(gzip.compress("\n".join([header, *zeros]).encode(), mtime=0))


# sample -> (what is done to a good deposit, stage that refuses, words of the reason)
SPOILED = {
    "floats": (spoil_counts("1.5"), "read_expression", r"counts\.tsv\.gz.*row 3.*column 4.*1\.5"),
    "negative": (spoil_counts("-3"), "read_expression", r"counts\.tsv\.gz.*row 3.*column 4.*-3"),
    "words": (spoil_counts("many"), "read_expression", r"counts\.tsv\.gz.*row 3.*column 4.*many"),
    "missing": (lambda folder: (folder / "counts.tsv.gz").unlink(), "fetch_sample", "counts.tsv.gz"),
    "picture-garbled": (
        lambda folder: (folder / "section.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 5000 + b"\xff\xd9"),
        "align_array",
        "section.jpg",
    ),
    "picture-cut": (
        lambda folder: (folder / "section.jpg").write_bytes((folder / "section.jpg").read_bytes()[:-100_000]),
        "fetch_sample",
        "section.jpg",
    ),
    "picture-html": (
        lambda folder: (folder / "section.jpg").write_text("<!doctype html><html>sign in</html>"),
        "fetch_sample",
        "section.jpg",
    ),
    "picture-reduced": (reduce_picture, "align_array", "lie outside section.jpg"),
    "few-spots": (few_spots, "assemble_sample", "only 9 of 9 in-tissue spots have counts"),
    "no-counts": (no_counts, "assemble_sample", r"only 0 of \d+ in-tissue spots have counts"),
    "wrong-hash": (None, "fetch_sample", "counts.tsv.gz"),
}


@pytest.fixture(scope="module")
def quarantine(tmp_path_factory, deposit):
    project = Project(tmp_path_factory.mktemp("bad"), deposit, SMALL)
    columns = next(csv.DictReader((ROOT / "config/cohorts/demo.csv").open()))
    rows = []
    for sample, (spoil, _, _) in {"good": (lambda folder: None, "", ""), **SPOILED}.items():
        folder = project.folder / "deposit" / sample
        folder.mkdir(parents=True)
        for source, name in (("", "counts.tsv.gz"), ("_selection", "spots.tsv"), ("", "section.jpg")):
            suffix = {"counts.tsv.gz": ".tsv.gz", "spots.tsv": ".tsv", "section.jpg": ".jpg"}[name]
            (found,) = [p for p in project.deposit.rglob(f"demo-a1{source}{suffix}") if "truth" not in p.parts]
            shutil.copy(found, folder / name)
        if spoil:
            spoil(folder)
        paths = {
            "counts": f"deposit/{sample}/counts.tsv.gz",
            "spots": f"deposit/{sample}/spots.tsv",
            "image": f"deposit/{sample}/section.jpg",
        }
        checksum = "sha256:" + "0" * 64 if sample == "wrong-hash" else ""
        rows.append({**columns, "sample_id": sample, "source": "file", "counts_checksum": checksum, **paths})
    good = {**rows[0], "donor": "-x"}
    rows[0] = good
    rows += [{**good, "sample_id": name, "counts": place} for name, (place, _) in NO_PLACES.items()]
    web = {"sample_id": "gone", "counts": "https://deposit.invalid/demo/no-such-file.tsv.gz"}
    rows.append({**columns, "counts_checksum": "", **web})
    rows = [{**row, "subseries": "taken"} for row in rows]
    rows += [{**good, "sample_id": f"left-{i}", "subseries": f"{i} {'left ' * 30}"} for i in range(LEFT_OUT)]
    with open(project.folder / "config/cohorts/bad.csv", "w", newline="", encoding="utf-16") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    project.configure(CONFIG)
    done = project.snakemake("--printshellcmds")
    project.said = done.stdout + done.stderr
    return project


@pytest.mark.parametrize("sample", SPOILED)
def test_the_sample_is_refused_with_a_line_that_names_the_file(quarantine, sample):
    _, stage, words = SPOILED[sample]
    found = {row["sample_id"]: row for row in quarantine.rows("quarantine.csv")}
    assert found[sample]["stage"] == stage, found[sample]
    assert re.search(words, found[sample]["reason"]), found[sample]["reason"]
    assert "\n" not in found[sample]["reason"]


@pytest.mark.parametrize("sample", NO_PLACES)
def test_a_cell_that_names_no_file_refuses_its_sample_alone(quarantine, sample):
    found = {row["sample_id"]: row for row in quarantine.rows("quarantine.csv")}
    assert found[sample]["stage"] == "fetch_sample"
    assert NO_PLACES[sample][1] in found[sample]["reason"]
    assert "\n" not in found[sample]["reason"]


def test_no_token_is_left_anywhere_but_in_the_table(quarantine):
    files = [path for path in quarantine.folder.rglob("*") if path.is_file() and path.name != "bad.csv"]
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert "hunter2" not in quarantine.said


def test_ten_thousand_rows_left_out_are_listed(quarantine):
    rows = quarantine.rows("left_out.csv")
    assert len(rows) == LEFT_OUT
    assert sum(len(row["reason"]) for row in rows) > 1_500_000


def test_a_donor_may_start_with_a_dash(quarantine):
    assert [row["patient"] for row in quarantine.rows("demo.csv")] == ["-x"]


def test_a_404_is_refused(quarantine):
    found = {row["sample_id"]: row for row in quarantine.rows("quarantine.csv")}
    assert found["gone"]["stage"] == "fetch_sample"
    assert "404" in found["gone"]["reason"]


def test_the_good_sample_is_finished_and_no_other_is_released(quarantine):
    assert [row["id"] for row in quarantine.rows("demo.csv")] == ["good"]
    assert [path.name for path in (quarantine.results / "st").iterdir()] == ["good.h5ad"]


def test_the_quality_page_shows_every_reason(quarantine):
    page = (quarantine.results / "report/quality.html").read_text()
    reasons = [row["reason"] for row in quarantine.rows("quarantine.csv")]
    assert len(reasons) == len(SPOILED) + len(NO_PLACES) + 1
    assert all(html.escape(reason, quote=False)[:60] in page for reason in reasons)


def test_raw_input_is_not_touched(quarantine):
    vendor = next(path.parent for path in quarantine.deposit.rglob("demo-a1.jpg"))
    copies = {"counts.tsv.gz": "demo-a1.tsv.gz", "section.jpg": "demo-a1.jpg", "spots.tsv": "demo-a1_selection.tsv"}
    good = quarantine.folder / "deposit/good"
    assert sorted(path.name for path in good.iterdir()) == sorted(copies)
    assert all((good / name).read_bytes() == (vendor / source).read_bytes() for name, source in copies.items())


def test_a_second_run_has_nothing_to_do(quarantine):
    assert quarantine.planned() == {}


def test_faults_in_tables_and_config_start_nothing(tmp_path, deposit):
    project = Project(tmp_path, deposit, {**SMALL, "limits": {"pixel_size_maximum_um": 2}})
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "limits.pixel_size_maximum_um: unknown key, did you mean 'pixel_size_max_um'?" in done.stdout + done.stderr
    project.configure(SMALL)
    table = project.folder / "config/cohorts/demo.csv"
    table.write_text(table.read_text().replace("Homo sapiens", "human").replace("demo-c1,", "demo-a1,", 1))
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert said.count("species: 'human', allowed: Homo sapiens, Mus musculus") == 3
    assert "demo.csv:4:sample_id: 'demo-a1' is already in row 2" in said
    assert not (project.folder / "results").exists()


def test_every_committed_configuration_can_be_planned(tmp_path):
    for path in sorted((ROOT / "config").glob("*.yaml")):
        done = plan(ROOT, "-q", "--configfile", str(path), "--cores", "1")
        assert done.returncode == 0, f"{path.name}: {done.stderr[-2000:]}"
        assert yaml.safe_load(path.read_text())["dataset"]
