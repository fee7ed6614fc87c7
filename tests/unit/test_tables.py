"""Tables and configuration: every fault at once, each as file:row:column: what, what is allowed."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spotweave import tables
from spotweave.errors import TableFaults

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "sample_id": "a1",
    "donor": "A",
    "dataset_title": "T",
    "technology": "Spatial Transcriptomics",
    "species": "Homo sapiens",
    "source": "https",
    "counts": "https://x.invalid/a.tsv",
    "spots": "https://x.invalid/s.tsv",
    "image": "https://x.invalid/i.jpg",
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def loaded(rows, name="c1.csv", columns=None, **config):
        path = tmp_path / name
        with open(path, "w", newline="") as handle:
            writer = csv.DictWriter(handle, columns or list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
        merged = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        merged.update({"cohorts": [str(path)], "tasks": [], "recipes": [], **config})
        return tables.load(merged, ROOT / "workflow/schemas", ROOT / "workflow/spotweave", "config.yaml")

    return loaded


def faults(load, rows, **options):
    with pytest.raises(TableFaults) as caught:
        load(rows, **options)
    return [re.sub(r"\S*/(?=\w+\.csv)", "", fault) for fault in caught.value.faults]


def test_a_good_table_gives_its_rows_and_cohort(load):
    found = load([GOOD, {**GOOD, "sample_id": "a2"}])
    assert found.cohorts == {"c1": ("a1", "a2")}
    assert found.samples["a2"] == {**GOOD, "sample_id": "a2", "cohort": "c1"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sample_id": "a_1"}, "c1.csv:2:sample_id: 'a_1', allowed: letters, digits and hyphens"),
        ({"species": "human"}, "c1.csv:2:species: 'human', allowed: Homo sapiens, Mus musculus, Rattus norvegicus, "),
        ({"technology": "Spatial Transcriptomic"}, "c1.csv:2:technology: 'Spatial Transcriptomic', did you mean"),
        ({"source": "ftp"}, "c1.csv:2:source: 'ftp' is not a module of sources/, allowed: biostudies, dryad,"),
        ({"source": "_content"}, "c1.csv:2:source: '_content' is not a module of sources/"),
        ({"donor": ""}, "c1.csv:2:donor: empty, allowed: letters, digits"),
        ({"pixel_size_um": "0,69"}, "c1.csv:2:pixel_size_um: '0,69', allowed: a positive number such as 0.688"),
        ({"spot_diameter_um": "0.0"}, "c1.csv:2:spot_diameter_um: '0.0', allowed: a positive number such as 100"),
        ({"spots_to_image_scale": "0"}, "c1.csv:2:spots_to_image_scale: '0', allowed: a positive number"),
        ({"counts_checksum": "sha256:12"}, "c1.csv:2:counts_checksum: "),
        ({"publication_date": "Jan 2021"}, "c1.csv:2:publication_date: 'Jan 2021', allowed: YYYY"),
        ({"counts": "https://a.org/two words"}, "c1.csv:2:counts: 'https://a.org/two words', allowed: one path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_cell_is_named_by_file_row_and_column(load, change, expected):
    (found,) = faults(load, [{**GOOD, **change}])
    assert found.startswith(expected)


def test_an_unknown_column_is_refused_with_the_nearest_name(load):
    (found,) = faults(load, [{**GOOD, "pixel_size": "0.7"}])
    assert found == "c1.csv:1:pixel_size: unknown column, did you mean 'pixel_size_um'?"


def test_a_missing_column_is_refused(load):
    row = {key: value for key, value in GOOD.items() if key != "donor"}
    assert faults(load, [row]) == ["c1.csv:1:donor: missing column, required"]


def test_a_sample_named_twice_is_refused_with_both_rows(load):
    assert faults(load, [GOOD, GOOD]) == [
        "c1.csv:3:sample_id: 'a1' is already in row 2, allowed: unique ids",
    ]


def test_a_sample_in_two_cohorts_is_refused(load, tmp_path):
    load([GOOD], name="c2.csv")
    found = faults(load, [GOOD], cohorts=[str(tmp_path / "c2.csv"), str(tmp_path / "c1.csv")])
    assert found == ["c1.csv:2:sample_id: 'a1' is already in c2.csv:2"]


def test_all_faults_come_at_once(load):
    found = faults(load, [{**GOOD, "species": "human", "donor": ""}, {**GOOD, "sample_id": "b 1"}])
    assert [fault.split(":")[1:3] for fault in found] == [["2", "donor"], ["2", "species"], ["3", "sample_id"]]


def test_a_row_with_too_many_cells_is_named(load, tmp_path):
    load([GOOD])
    path = tmp_path / "c1.csv"
    path.write_text(path.read_text() + "a,b\n")
    found, _ = tables.read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
    assert list(found) == ["a1"]
    assert "number of cells" in tables.read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")[1][0]


def test_comments_blank_lines_and_a_bom_are_no_rows(load, tmp_path):
    load([GOOD])
    path = tmp_path / "c1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\ufeff" + "\n".join([lines[0], "# a comment, as people write them", "", lines[1]]) + "\n")
    rows, found = tables.read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
    assert found == []
    assert list(rows) == ["a1"]


def test_a_missing_table_is_one_line(load):
    (found,) = faults(load, [GOOD], cohorts=["nowhere.csv"])
    assert found.startswith("nowhere.csv: no such file")


def test_a_table_without_rows_is_a_fault(load):
    assert faults(load, [], columns=list(GOOD)) == ["c1.csv: no rows, allowed: at least one sample"]


def test_a_cohort_name_that_would_break_a_command_is_a_fault(load):
    (found,) = faults(load, [GOOD], name="my demo.csv")
    assert "'my demo' becomes part of file names" in found


def test_a_reader_that_does_not_exist_is_a_fault(load, tmp_path):
    lines = (ROOT / "resources/technologies.csv").read_text().replace("st_v1", "st_v2")
    (tmp_path / "technologies.csv").write_text(lines)
    (found,) = faults(load, [GOOD], technologies_table=str(tmp_path / "technologies.csv"))
    assert found == "technologies.csv:2:reader: 'st_v2' is not a module of readers/, did you mean 'st_v1'?"


def test_unknown_config_keys_are_refused_with_the_nearest_name(load):
    limits = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
    found = faults(load, [GOOD], limits={**limits, "pixel_size_max": 2}, patchs={})
    assert sorted(found) == [
        "config.yaml:limits.pixel_size_max: unknown key, did you mean 'pixel_size_max_um'?",
        "config.yaml:patchs: unknown key, did you mean 'patch'?",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pixel_size_max_um": float("nan")}, "config.yaml:limits.pixel_size_max_um: not a number"),
        ({"pixel_size_min_um": 2}, "config.yaml:limits.pixel_size_min_um: 2, allowed: less than pixel_size_max_um"),
    ],
)
def test_limits_that_would_limit_nothing_or_all_are_faults(load, change, expected):
    limits = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
    (found,) = faults(load, [GOOD], limits={**limits, **change})
    assert found.startswith(expected)


def test_names_the_configuration_chooses_must_be_in_their_tables(load):
    found = faults(load, [GOOD], encoders=["handcraftet"], probes=["rigde"], protocols=["stritc"])
    assert [fault.partition("did you mean ")[2] for fault in found] == ["'handcrafted'?", "'ridge'?", "'strict'?"]


def test_a_random_encoder_must_be_called_so(load, tmp_path):
    lines = (ROOT / "config/encoders.csv").read_text().replace("resnet50-random", "resnet50-mine")
    (tmp_path / "encoders.csv").write_text(lines)
    found = faults(load, [GOOD], encoders=[], encoders_table=str(tmp_path / "encoders.csv"))
    assert any("'resnet50-mine' has random weights" in fault for fault in found)


def test_reading_tables_imports_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'workflow'); import spotweave.tables, spotweave.codehash;"
        "print(*(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "torch", "scanpy", "anndata", "requests", "pyvips", "skimage", "sklearn"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize(
    "table", sorted((ROOT / "config").glob("*/*.csv")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_committed_cohort_table_is_valid(table):
    _, found = tables.read_table(table, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
    assert found == []


@pytest.mark.parametrize("code", ["HCL-V", "MDS/MPN", "IMTFET-CREB", "IDC"])
def test_codes_with_hyphens_and_slashes_are_codes(load, code):
    assert load([{**GOOD, "oncotree_code": code}]).samples["a1"]["oncotree_code"] == code


@pytest.mark.parametrize(("column", "vocabulary"), [("species", "species"), ("oncotree_code", "oncotree")])
def test_the_schema_allows_every_term_of_the_vocabulary(column, vocabulary):
    rule = yaml.safe_load((ROOT / "workflow/schemas/cohort.schema.yaml").read_text())["properties"][column]
    with open(ROOT / f"resources/vocabulary/{vocabulary}.csv", newline="", encoding="utf-8") as handle:
        terms = [row["term"] for row in csv.DictReader(handle)]
    assert terms
    assert rule.get("enum", terms) == terms
    assert [term for term in terms if not re.search(rule.get("pattern", ""), term)] == []


def test_every_config_key_and_column_is_described():
    for path in (ROOT / "workflow/schemas").glob("*.yaml"):
        schema = yaml.safe_load(path.read_text())
        waiting = [(path.stem, schema)]
        while waiting:
            where, node = waiting.pop()
            assert "description" in node, f"{where} has no description"
            if "properties" in node:
                assert node["additionalProperties"] is False, where
            waiting += [(f"{where}.{name}", child) for name, child in node.get("properties", {}).items()]


def test_a_row_with_an_accession_needs_no_places(load):
    row = {**GOOD, "source": "geo", "accession": "GSM5732357"}
    for role in ("counts", "spots", "image"):
        row.pop(role, None)
    assert load([row]).samples


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": ""}, "c1.csv:2:image: empty, allowed: where the file is, or an accession"),
        ({"spots": ""}, "c1.csv:2:spots: empty, allowed: where the file is, or an accession"),
        ({"files": "*A1*"}, "c1.csv:2:files: narrows an accession, and there is none"),
        ({"accession": "GSM1"}, "c1.csv:2:accession: a web server lists no files"),
        (
            {"alignment_checksum": f"md5:{'0' * 32}"},
            "c1.csv:2:alignment_checksum: there is no alignment it could be of",
        ),
    ],
)
def test_a_row_must_say_where_its_files_are(load, change, expected):
    (found,) = faults(load, [{**GOOD, **change}])
    assert found.startswith(expected)


def test_a_choice_leaves_rows_out_and_says_so(load):
    tables = load([GOOD, {**GOOD, "sample_id": "a2", "organ": "Lung"}], select="organ=Lung")
    assert list(tables.samples) == ["a2"]
    assert tables.left_out == {GOOD["sample_id"]: f"not selected: organ is {GOOD.get('organ', 'unspecified')}"}


def test_a_choice_without_any_row_is_a_fault_that_lists_what_there_is(load):
    (found,) = faults(load, [{**GOOD, "organ": "Lung"}], select="organ=Breast")
    assert "no sample is left" in found
    assert "organ: Lung" in found


def test_a_choice_takes_away_the_tasks_it_leaves_without_donors(load):
    rows = [{**GOOD, "organ": "Lung"}, {**GOOD, "sample_id": "a2", "donor": "other", "organ": "Liver"}]
    tables = load(rows, select="organ=Lung")
    whole = load(rows)
    assert whole.cohort_left_out == {"c1": 0}
    assert tables.cohort_left_out == {"c1": 1}


def test_an_accession_must_be_one_of_its_source(load):
    (found,) = faults(load, [{**GOOD, "source": "geo", "accession": "PRJNA5732357"}])
    assert found == "c1.csv:2:accession: 'PRJNA5732357', allowed: as geo writes it, GSM5732357"


def test_what_a_draft_leaves_open_blocks_the_build(load):
    found = faults(load, [{**GOOD, "organ": "?", "notes": "?"}])
    assert [fault.split(", ")[0] for fault in found] == ["c1.csv:2:notes: still '?'", "c1.csv:2:organ: still '?'"]


def test_a_range_of_one_pixel_size_is_empty(load):
    limits = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
    (found,) = faults(load, [GOOD], limits={**limits, "pixel_size_min_um": limits["pixel_size_max_um"]})
    assert "limits.pixel_size_min_um" in found


def test_a_number_sign_within_a_cell_is_no_comment(load):
    titled = {"dataset_title": "Section #3", **{name: cell for name, cell in GOOD.items() if name != "dataset_title"}}
    assert load([titled]).samples["a1"]["dataset_title"] == "Section #3"
