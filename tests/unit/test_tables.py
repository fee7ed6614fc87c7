"""Tables and configuration: every fault at once, each as file:row:column: what, what is allowed."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spotweave.errors import TableFaults
from spotweave.plan import tables
from spotweave.tables import config as configuration
from spotweave.tables.rows import read_table

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
        return tables.load(merged, ROOT, "config.yaml")

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
        ({"source": "ftp"}, "c1.csv:2:source: 'ftp' is no source, allowed: biostudies, dryad,"),
        ({"source": "_content"}, "c1.csv:2:source: '_content' is no source"),
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


SEPARATED = {"semicolons": ";", "tabs": "\t", "bars": "|"}


def written(path, *, delimiter=",", encoding="utf-8", end="\r\n", first="", rows=(GOOD,), cells=()):
    """A table as some program saves it."""
    table = [list(rows[0]), *([row[name] for name in rows[0]] for row in rows), *cells]
    text = first + "".join(delimiter.join(line) + end for line in table)
    path.write_bytes(text.encode(encoding))
    return path


def read(path):
    rows, found = read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
    return {name: row for name, (_, row) in rows.items()}, found


@pytest.mark.parametrize("name", SEPARATED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_as_spreadsheets_save_it(tmp_path, name, encoding):
    row = {**GOOD, "dataset_title": "Müller et al.", "notes": "für später"}
    path = written(tmp_path / "c.csv", delimiter=SEPARATED[name], encoding=encoding, rows=(row,))
    assert read(path) == ({"a1": row}, [])


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("first", ["", "sep=;\n", '"sep=;"\r\n'])
def test_line_ends_and_a_sep_line_change_nothing(tmp_path, end, first):
    assert read(written(tmp_path / "c.csv", delimiter=";", end=end, first=first)) == ({"a1": GOOD}, [])


def test_blank_columns_and_rows_at_the_end_are_none(tmp_path):
    path = written(tmp_path / "c.csv")
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},,,\n{row},,,\n{',' * 20}\n\n")
    assert read(path) == ({"a1": GOOD}, [])
    path.write_text(f"{header},,\n{row},,7\n")
    assert read(path)[1] == [f"{path}:1: column 11 has no name but holds '7' in row 2"]


def test_a_decimal_comma_is_one_where_semicolons_part_the_cells(tmp_path):
    row = {**GOOD, "pixel_size_um": "0,68", "dataset_title": "1,5"}
    rows, found = read(written(tmp_path / "c.csv", delimiter=";", rows=(row,)))
    assert found == []
    assert (rows["a1"]["pixel_size_um"], rows["a1"]["dataset_title"]) == ("0.68", "1,5")


# What is done to a table -> the one line that says what to do.
UNREADABLE = {
    "another code page": (
        lambda path: written(path, encoding="cp1252", cells=[["é"] * 9]),
        ":3: not in UTF-8 (byte 0xe9)",
    ),
    "a workbook": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), ": a workbook or zip archive, not a CSV"),
    "a web page": (lambda path: path.write_text("\n<!doctype html>"), ": a web page or XML, not a CSV table"),
    "nothing": (lambda path: path.write_text(" \n"), ": empty, allowed: a CSV table with a header"),
    "another table": (lambda path: path.write_text("x,y\n1,2\n"), ":1: 'x,y' is no header, allowed: columns named"),
    "an open quote": (
        lambda path: written(path, cells=[['"a2', *"bcdefghi"]]),
        ":3: not a readable CSV table (a quote",
    ),
    "a quote within": (lambda path: written(path, cells=[['"a"2', *"bcdefghi"]]), ":3: not a readable CSV table ("),
    "a folder": (lambda path: path.mkdir(), ": no such file"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_one_line_that_says_what_to_do(tmp_path, kind):
    spoil, expected = UNREADABLE[kind]
    path = tmp_path / "c.csv"
    spoil(path)
    (found,) = read(path)[1]
    assert found.startswith(f"{path}{expected}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a\0b", "holds U+0000"),
        ("a\u202eb", "holds U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("a\u200bb", "holds U+200B (ZERO WIDTH SPACE)"),
        ("x" * 100_000, "has 100,000 characters"),
    ],
)
def test_cells_that_nobody_can_see_or_read_are_named_in_a_short_line(load, cell, expected):
    (found,) = faults(load, [{**GOOD, "dataset_title": cell}])
    assert found.startswith("c1.csv:2:dataset_title: ")
    assert expected in found
    assert len(found) < 400


def test_a_cell_of_a_million_characters_is_one_line(load):
    (found,) = faults(load, [{**GOOD, "notes": "x" * 1_000_000}])
    assert found.startswith("c1.csv:2: not a readable CSV table (a cell of over 131,072 characters")


def test_a_line_break_in_a_cell_is_a_blank(load):
    title = load([{**GOOD, "dataset_title": "one\r\n two\n\nthree"}]).samples["a1"]["dataset_title"]
    assert title == "one two three"


def test_quotes_formulas_and_letters_of_any_kind_are_text(load):
    for text in ('a "quoted" title', "=1+1", "@x", "Größe", "Gro\u0308ße", "東京", "-x"):
        assert load([{**GOOD, "dataset_title": text, "notes": text}]).samples["a1"]["notes"] == text


@pytest.mark.parametrize(
    "column", ["sample_id", "donor", "source", "technology", "accession", "counts", "pixel_size_um"]
)
def test_a_name_too_long_for_a_file_is_one_line(load, column):
    found = faults(load, [{**GOOD, "accession": "x", "source": "file", column: "1" * 5000}])
    assert [fault.split(":")[2] for fault in found] == [column]
    assert len(found[0]) < 1000


@pytest.mark.parametrize("length", [101, 255, 300])
def test_a_sample_whose_files_would_have_no_names_is_refused(load, length):
    (found,) = faults(load, [{**GOOD, "sample_id": "a" * length}])
    assert f"has {length} characters, allowed: at most 100" in found
    assert load([{**GOOD, "sample_id": "a" * 100}]).samples


@pytest.mark.parametrize("cell", ["-x", "--record", "-1"])
def test_a_donor_and_a_member_may_start_with_a_dash(load, cell):
    assert load([{**GOOD, "donor": cell, "member": cell}]).samples["a1"]["donor"] == cell


@pytest.mark.parametrize("cell", ["--", "-", "."])
def test_a_donor_and_a_member_have_a_letter_or_digit(load, cell):
    found = faults(load, [{**GOOD, "donor": cell, "member": cell}])
    assert [fault.split(":")[2] for fault in found] == ["donor", "member"]


@pytest.mark.parametrize(
    ("column", "cell", "word"),
    [
        ("species", "human", "Homo sapiens"),
        ("species", "Mus musculs", "Mus musculus"),
        ("species", "zebrafish", "Danio rerio"),
        ("preservation", "FFPE", "ffpe"),
        ("preservation", "fresh frozen", "fresh_frozen"),
        ("disease_state", "Tumour", "tumor"),
        ("organ", "breast", "Breast"),
        ("licence", "CC-BY-4", "CC-BY-4.0"),
        ("technology", "visium", "Visium"),
        ("source", "zenod", "zenodo"),
    ],
)
def test_the_nearest_allowed_word_is_suggested(load, column, cell, word):
    (found,) = faults(load, [{**GOOD, column: cell}])
    assert repr(word) in found


def test_a_token_in_a_cell_is_not_repeated_by_its_fault(load):
    (found,) = faults(load, [{**GOOD, "counts": "https://a.org/x?token=hunter2 b"}])
    assert "hunter2" not in found


def test_folds_are_never_more_than_donors(load, tmp_path):
    (tmp_path / "tasks.csv").write_text("task,cohorts,n_genes,n_folds\nt,c1,5,7\nall,c1,5,\ntwo,c1,5,2\n")
    rows = [{**GOOD, "sample_id": f"a{i}", "donor": f"d{i // 2}"} for i in range(8)]
    found = load(rows, tasks_table=str(tmp_path / "tasks.csv"), tasks=["t"])
    assert [found.fold_count(task) for task in ("t", "all", "two")] == [4, 4, 2]


# A file -> what is wrong with it.
CONFIGS = {
    "a: 1\n\tb: 2\n": ":2: found character '\\t' that cannot start any token",
    "seed: 1\nseed: 2\n": ":2: the key 'seed' is there twice",
    "limits:\n  spots_min: 1\n  spots_min: 2\n": ":3: the key 'spots_min' is there twice",
    "- a\n": ": no keys at its top level",
    "words\n": ": no keys at its top level",
    "": ": no keys at its top level",
    "a: [1\n": ":2: expected ',' or ']'",
    "a: !!python/object/apply:os.getcwd []\n": ":1: could not determine a constructor",
    "a: \xfc\n": ": cannot be read",
    "? [1]\n: 2\n": ":1: found unhashable key",
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_configuration_that_is_none_is_one_line(load, tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode("latin-1"))
    content, (found,) = configuration.read(path)
    assert found.startswith(f"{path}{CONFIGS[text]}")
    assert "\n" not in found
    assert content == {}


def test_a_configuration_that_is_missing_is_one_line(tmp_path):
    assert configuration.read(tmp_path / "no.yaml")[1] == [
        f"{tmp_path / 'no.yaml'}: no such file, allowed: a configuration in YAML"
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cohorts": "a.csv"}, "config.yaml:cohorts: 'a.csv' ("),
        ({"cohorts": [["a.csv"]]}, "config.yaml:cohorts.0: ['a.csv'] ("),
        ({"limits": [1]}, "config.yaml:limits: [1] ("),
        ({"seed": "1"}, "config.yaml:seed: '1' ("),
        ({"seed": None}, "config.yaml:seed: None ("),
        ({"dataset": "x\n"}, "config.yaml:dataset: 'x\\n' holds U+000A"),
        ({"raw_dir": "a\0b"}, "config.yaml:raw_dir: 'a\\x00b' holds U+0000"),
        (
            {"fetch": {"attempts": 1, "timeout_s": 1, "unannounced_max_gb": 0, "free_min_gb": 0}},
            "config.yaml:fetch.unann",
        ),
        ({3: "x"}, "config.yaml:3: unknown key"),
        ({"dataset": "d" * 100_000}, "config.yaml:dataset: 'd"),
        ({"tasks_table": "t" * 300}, "t" * 300 + ": no such file"),
        ({"tasks_table": "t\x7f"}, "config.yaml:tasks_table: "),
    ],
)
def test_a_wrong_value_of_the_configuration_is_one_short_line(load, change, expected):
    with pytest.raises(TableFaults) as caught:
        load([GOOD], **{str(key): value for key, value in change.items()})
    assert caught.value.faults[0].startswith(expected)
    assert all("\n" not in fault and len(fault) < 1200 for fault in caught.value.faults)


def test_an_unknown_column_is_refused_with_the_nearest_name(load):
    (found,) = faults(load, [{**GOOD, "pixel_size": "0.7"}])
    assert found == "c1.csv:1:pixel_size: unknown column, did you mean 'pixel_size_um'?"


def test_a_missing_column_is_refused(load):
    row = {key: value for key, value in GOOD.items() if key != "donor"}
    (found,) = faults(load, [row])
    assert found.startswith("c1.csv:1:donor: missing column, allowed: letters, digits")


@pytest.mark.parametrize(
    ("name", "lost", "expected"),
    [
        ("technologies", {"placing", "pooling"}, ["placing", "pooling"]),
        ("recipes", {"kind"}, ["kind"]),
        ("encoders", {"builder"}, ["builder"]),
    ],
)
def test_rows_that_name_a_row_of_a_table_that_cannot_be_read_are_not_blamed(load, tmp_path, name, lost, expected):
    whole = ROOT / ("resources" if name == "technologies" else "config") / f"{name}.csv"
    with open(whole, newline="") as handle:
        rows = [{key: cell for key, cell in row.items() if key not in lost} for row in csv.DictReader(handle)]
    with open(tmp_path / "t.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = faults(load, [GOOD], recipes=["infonce-demo"], tasks=["demo"], **{f"{name}_table": str(tmp_path / "t.csv")})
    # The task names a cohort of the demo: said, as it has nothing to do with the table.
    said = [fault.split(", allowed")[0] for fault in found if not fault.startswith("tasks.csv")]
    assert said == [f"t.csv:1:{column}: missing column" for column in expected]


def test_a_blank_cell_that_names_an_entry_is_one_fault(load, tmp_path):
    text = (ROOT / "resources/technologies.csv").read_text().replace("xenium,registration,", "xenium,,")
    (tmp_path / "t.csv").write_text(text)
    (found,) = faults(load, [GOOD], technologies_table=str(tmp_path / "t.csv"))
    assert found.startswith("t.csv:5:placing: empty, allowed: a module of workflow/spotweave/placing")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([], "[] (without pearson)"),
        (["spearman"], "['spearman'] (without pearson)"),
        (["pearson", "pearson"], "['pearson', 'pearson'] (the same twice)"),
        ("pearson", "'pearson' (not a list)"),
    ],
    ids=["none", "not pearson", "twice", "no list"],
)
def test_a_wrong_choice_of_metrics_is_said_without_words_of_schemas(load, metrics, expected):
    (found,) = faults(load, [GOOD], metrics=metrics)
    assert found == f"config.yaml:metrics: {expected}, allowed: names, each once, pearson among them"


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
    found, _ = read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
    assert list(found) == ["a1"]
    assert "number of cells" in read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")[1][0]


def test_comments_blank_lines_and_a_bom_are_no_rows(load, tmp_path):
    load([GOOD])
    path = tmp_path / "c1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\ufeff" + "\n".join([lines[0], "# a comment, as people write them", "", lines[1]]) + "\n")
    rows, found = read_table(path, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
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
    assert found == "technologies.csv:2:reader: 'st_v2' is no reader, did you mean 'st_v1'?"


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


def test_a_wrong_switch_of_a_protocol_is_one_line_with_the_configuration(load):
    (found,) = faults(load, [GOOD], protocols=["strict+over=pooled", "strict+genes=trian"])
    assert found == "config.yaml:protocols: 'strict+genes=trian': genes is 'trian', allowed: all, train, train_hvg"


def test_a_random_encoder_must_be_called_so(load, tmp_path):
    lines = (ROOT / "config/encoders.csv").read_text().replace("resnet50-random", "resnet50-mine")
    (tmp_path / "encoders.csv").write_text(lines)
    found = faults(load, [GOOD], encoders=[], encoders_table=str(tmp_path / "encoders.csv"))
    assert any("'resnet50-mine' has random weights" in fault for fault in found)


def test_reading_tables_imports_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'workflow'); import spotweave.plan.tables, spotweave.codehash;"
        "print(*(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "torch", "scanpy", "anndata", "requests", "pyvips", "skimage", "sklearn"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize(
    "table", sorted((ROOT / "config").glob("*/*.csv")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_committed_cohort_table_is_valid(table):
    _, found = read_table(table, ROOT / "workflow/schemas/cohort.schema.yaml", "sample_id")
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
