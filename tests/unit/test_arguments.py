"""Options from tables: no cell is taken for an option, no list is too long."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from spotweave.arguments import expanded
from spotweave.io import write_refused
from spotweave.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
CELLS = [
    "-x",
    "--record",
    "-",
    "--x=--",
    "@file",
    "a b",
    'it\'s "so"',
    "$(touch x)",
    "a\nb",
    "\0",
    "=1+1",
    "\u202egnp",
    "é",
    "",
]


def test_every_cell_arrives_as_it_is():
    stage = Stage("gather", "", inputs=["shards@"], outputs=["table"], record=False)
    stage.option("--donors", nargs="+", action="extend", required=True)
    stage.option("--member")
    stage.option("--known", type=json.loads)
    for member in CELLS:
        known = [{"sample_a": cell} for cell in CELLS]
        given = {"samples": CELLS, "donors": CELLS, "member": member, "known": known}
        words = ["--given", "-", "--shards", "x/{sample}.json", "--table", "t"]
        found = stage.parser.parse_args(expanded(words, io.StringIO(json.dumps(given))))
        assert (found.samples, found.donors, found.member, found.known) == (CELLS, CELLS, member, known)


def test_what_is_not_given_is_left_to_the_script():
    assert expanded(["--given", "-", "--x", "1"], io.StringIO('{"member": null, "folds": []}')) == ["--x", "1"]


def test_a_file_may_be_given(tmp_path):
    (tmp_path / "given.json").write_text('{"spots_min": 3}')
    assert expanded(["--given", str(tmp_path / "given.json")], io.StringIO()) == ["--spots-min=3"]


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"member": "--"}'])
def test_what_is_no_object_is_an_error(text):
    with pytest.raises(ValueError, match=r"object|Expecting|cannot be a value"):
        expanded(["--given", "-"], io.StringIO(text))


def test_ten_thousand_reasons_reach_a_script_through_the_shell(tmp_path):
    """What a rule does: the JSON stands in the command, and bash hands it on; no argument limit is met."""
    reasons = {f"not selected: organ is {'x' * 100} {i}": [f"sample-{i:05d}"] for i in range(10_000)}
    (tmp_path / "shard.json").write_text('{"samples": []}')
    names = ["table", "quarantine", "left-out", "findings", "manifest"]
    outputs = " ".join(f"--{name} {tmp_path / 'd' / name}" for name in names)
    command = (
        f"{sys.executable} {ROOT}/scripts/assemble_dataset.py --shards {tmp_path}/shard.json {outputs} --given -"
        f" <<< '{json.dumps({'choice': reasons})}'"
    )
    assert len(command) > 1 << 20
    (tmp_path / "script.sh").write_text(command)  # as Snakemake does with a long command
    done = subprocess.run(["bash", str(tmp_path / "script.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((tmp_path / "d/left-out").read_text().splitlines()) == 10_001


def test_two_thousand_samples_with_long_names_are_gathered(tmp_path):
    samples = [f"{'s' * 90}-{i}" for i in range(2000)]
    for sample in samples:
        write_refused(tmp_path / f"{sample}.json")
    given = {"samples": samples, "donors": ["-x"] * len(samples), "known": "[]"}
    command = (
        f"{sys.executable} {ROOT}/scripts/audit_identity.py --given - --fingerprints {tmp_path}/{{sample}}.json"
        f" --table {tmp_path}/d/t.csv <<< '{json.dumps(given)}'"
    )
    (tmp_path / "script.sh").write_text(command)
    done = subprocess.run(["bash", str(tmp_path / "script.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "d/t.csv").is_file()


def test_no_rule_puts_a_cell_of_a_table_into_a_command_line():
    """Cells and lists of samples stand behind `<<<` only."""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for line in path.read_text().splitlines():
            for word in (
                "params.samples",
                "params.donors",
                "params.member",
                "params.row",
                "params.licence",
                "wanted[req",
            ):
                assert "{" + word not in line, f"{path.name}: {line.strip()}"
            if "{params.given" in line or "[given]" in line:
                assert "<<< {params." in line, f"{path.name}: {line.strip()}"
