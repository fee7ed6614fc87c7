"""What the rows of the tables ask of each job: requests, options, encoders, the closing lines."""

import json

import pytest

from spotweave import ledger
from spotweave.arguments import as_json
from spotweave.plan import closing, options, requests, statements
from spotweave.plan.tables import Tables

SAMPLES = {
    "a1": {
        "technology": "Visium",
        "donor": "A",
        "cohort": "one",
        "source": "zenodo",
        "accession": "77",
        "image": "big.tif",
        "image_checksum": "md5:ab",
        "licence": "MIT",
        "files": "*A1*",
    },
    "a2": {"technology": "ST", "donor": "A", "cohort": "one", "source": "https", "counts": "https://x.invalid/c.tsv"},
    "b1": {"technology": "ST", "donor": "B", "cohort": "two", "source": "file", "counts": "/none/c.tsv"},
}


def tables(**changed):
    """Three samples of two technologies, two encoders, two tasks and a recipe on the first."""
    return Tables(
        **{
            "samples": SAMPLES,
            "cohorts": {"one": ("a1", "a2"), "two": ("b1",)},
            "technologies": {
                "Visium": {"reader": "visium", "array_pitch_x_um": "50", "spot_diameter_um": "55"},
                "ST": {"reader": "st_v1"},
            },
            "encoders": {
                "plain": {"encoder": "plain", "builder": "handcrafted", "gpu": "0"},
                "net": {"encoder": "net", "builder": "timm_model", "gpu": "1", "notes": "n", "licence": "l"},
            },
            "tasks": {"t1": {"cohorts": "one two"}, "t2": {"cohorts": "two"}},
            "recipes": {"tuned": {"base_encoder": "net", "task": "t1"}},
            "file_columns": ("counts", "image"),
            **changed,
        }
    )


def test_a_request_names_files_checksums_and_what_narrows_the_accession():
    assert requests.fetch_options(tables(), "a1", "raw", "one.csv") == {
        "request": {
            "sample": "a1",
            "reader": "visium",
            "given": {"image": {"location": "big.tif", "checksum": "md5:ab"}},
            "source": "zenodo",
            "accession": "77",
            "files": "*A1*",
        },
        "folder": "raw/one/a1",
        "licence": "MIT",
    }


def test_a_request_holds_no_token_and_then_names_the_table_that_does():
    address = "https://x.invalid/c.tsv?token=s3cr3t"
    secret = tables(samples={**SAMPLES, "a2": {**SAMPLES["a2"], "counts": address}})
    found = requests.fetch_options(secret, "a2", "raw", "one.csv")
    assert "s3cr3t" not in json.dumps(found)
    assert found["request"]["table"] == "one.csv"
    assert "table" not in requests.fetch_options(tables(), "a2", "raw", "one.csv")["request"]


def test_the_sources_of_a_row_are_its_own_and_those_its_cells_name():
    columns = ("counts", "image")
    row = {**SAMPLES["a1"], "counts": "https://x.invalid/c.tsv", "image": "geo:GSM1/i.tif"}
    assert requests.used_sources(row, columns) == {"zenodo", "https", "geo"}
    assert requests.used_sources({**row, "files": "geo:x"}, ()) == {"zenodo"}


def test_sizes_are_looked_at_for_local_files_only(tmp_path):
    file = tmp_path / "counts.tsv"
    row = {"source": "file", "counts": str(file), "image": "https://x.invalid/i.tif"}
    assert requests.local_bytes(row, ("counts", "image")) == [f"{file}:missing"]
    file.write_bytes(b"123")
    assert requests.local_bytes(row, ("counts", "image")) == [f"{file}:3"]
    assert requests.local_bytes(SAMPLES["a2"], ("counts", "image")) == []


def test_a_folder_of_files_counts_whole_where_the_counts_are_not_named(tmp_path):
    (tmp_path / "x.mtx").write_bytes(b"12345")
    row = {"source": "file", "accession": str(tmp_path)}
    assert requests.local_bytes(row, ("counts",)) == [f"{tmp_path / 'x.mtx'}:5"]
    assert requests.local_bytes({**row, "counts": "x.mtx"}, ("counts",)) == [f"{tmp_path}/x.mtx:5"]


def test_the_row_of_a_recipe_is_its_bases_with_the_recipes_weights():
    known = tables()
    assert known.encoder_row("net") is known.encoders["net"]
    assert known.encoder_row("tuned") == {**known.encoders["net"], "encoder": "tuned", "builder": "finetuned"}
    assert known.builders_of("plain") == ["handcrafted"]
    assert known.builders_of("tuned") == ["finetuned", "timm_model"]


def test_a_recipe_and_its_base_are_scored_on_its_task_only():
    known = tables()
    assert known.encoders_needed(["plain"], ["tuned"]) == ["plain", "tuned", "net"]
    assert known.scored_on("t1", ["plain"], ["tuned"]) == ["plain", "tuned", "net"]
    assert known.scored_on("t2", ["plain"], ["tuned"]) == ["plain"]


def test_remarks_are_left_out_and_nothing_else():
    assert options.without_remarks(tables().encoders["net"]) == {"encoder": "net", "builder": "timm_model"}


def test_array_options_are_the_rows_before_the_technologys():
    assert options.array_options(tables(), "a1") == "--array-pitch-x-um 50 --spot-diameter-um 55"
    row = {**SAMPLES["a1"], "spot_diameter_um": "60", "pixel_size_um": "0.5"}
    found = options.array_options(tables(samples={"a1": row}), "a1")
    assert found == "--stated-pixel-size-um 0.5 --array-pitch-x-um 50 --spot-diameter-um 60"
    assert options.array_options(tables(), "b1") == ""


XENIUM = {"technology": "Xenium", "donor": "X", "cohort": "two", "source": "https", "image": "https://x.invalid/he.tif"}
HD = {**XENIUM, "technology": "Visium HD"}


def pooled_tables(**rows):
    technologies = {
        "Xenium": {"reader": "xenium", "placing": "registration", "pooling": "transcripts"},
        "Visium HD": {"reader": "visium_hd", "placing": "transform", "pooling": "bins"},
    }
    return tables(samples=rows, technologies=technologies, file_columns=("counts", "image", "alignment"))


def test_a_stated_alignment_is_no_file_to_be_fetched_but_an_option():
    known = pooled_tables(x={**XENIUM, "alignment": "identity", "pixel_size_um": "0.36"}, y=XENIUM)
    assert set(requests.fetch_options(known, "x", "raw", "two.csv")["request"]["given"]) == {"image"}
    assert options.registration_options(known, "x") == "--alignment identity --stated-pixel-size-um 0.36"
    assert options.registration_options(known, "y") == ""
    named = pooled_tables(x={**XENIUM, "alignment": "https://x.invalid/identity.csv"})
    assert set(requests.fetch_options(named, "x", "raw", "two.csv")["request"]["given"]) == {"image", "alignment"}
    assert options.registration_options(named, "x") == ""


def test_only_a_technology_that_is_registered_may_state_its_alignment():
    row = {**XENIUM, "alignment": "identity"}
    assert statements.statement_faults("t.csv:2", row, {"placing": "registration"}) == []
    (fault,) = statements.statement_faults("t.csv:2", {**row, "technology": "Visium"}, {"placing": "lattice"})
    assert fault.startswith("t.csv:2:alignment: 'identity' is judged by registering, which Visium samples are not")


def test_cells_are_the_units_of_a_technology_or_of_a_row():
    known = pooled_tables(x=XENIUM, bins=HD, cells={**HD, "unit": "cell"}, small={**HD, "unit": "square_002um"})
    assert [options.has_cells(known, name) for name in ("x", "bins", "cells", "small")] == [True, False, True, False]


def test_donors_stand_in_the_order_of_their_samples():
    assert options.with_donors(tables(), ("b1", "a2")) == {"samples": ["b1", "a2"], "donors": ["B", "A"]}


@pytest.mark.parametrize(("samples", "expected"), [(("a1", "a2"), [0, 1]), (("a1", "b1"), [1]), (("b1",), [])])
def test_known_identities_speak_of_these_samples_only(samples, expected):
    rows = ({"sample_a": "a1", "sample_b": "a2"}, {"sample_a": "a1"})
    assert options.known_identities(tables(identities=rows), samples) == [rows[index] for index in expected]


def test_samples_left_out_stand_by_their_reason():
    known = tables(left_out={"x": "one", "y": "two", "z": "one"})
    assert options.left_out_by_reason(known) == {"one": ["x", "z"], "two": ["y"]}


def test_the_closing_lines_count_what_was_accepted(tmp_path):
    results = tmp_path / "mine"
    results.mkdir()
    assert closing.closing_lines(results, tables(), {}) == "done"
    (results / "quarantine.csv").write_text("sample_id,stage\na1,read\n")
    found = closing.closing_lines(results, tables(left_out={"x": "r"}), {"t2": "no donors"}).splitlines()
    assert found == [
        f"dataset      {results}/mine.csv  (2 of 3 samples accepted)",
        f"quarantine   {results}/quarantine.csv  (1 refused)",
        f"left out     {results}/left_out.csv  (1 samples not chosen)",
        "left out     task t2: no donors",
    ]


def test_damage_is_counted_and_its_first_lines_are_shown():
    assert ledger.notice(["a has gone"]).splitlines()[1:] == ["  a has gone"]
    lines = ledger.notice([f"f{number} has gone" for number in range(10)]).splitlines()
    assert lines[0].startswith("10 files are not as their jobs left them")
    assert lines[-2:] == ["  f7 has gone", "  and 2 more"]


def test_json_for_commands_has_one_form():
    assert as_json({"b": [1, 2], "a": None}) == '{"a":null,"b":[1,2]}'
