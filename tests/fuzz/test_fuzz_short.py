"""A few mutated deposits of every technology; `make fuzz` tries thousands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fuzz_arguments
import pytest

RUN = Path(__file__).with_name("run.py")


def fuzz(tmp_path: Path, *arguments: str) -> tuple[int, list[dict], str]:
    """In a process of its own: it forks, and its limits stay with it."""
    out = tmp_path / "cases.jsonl"
    command = [sys.executable, str(RUN), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    outcomes = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    return done.returncode, [outcome for outcome in outcomes if "verdict" in outcome], done.stdout + done.stderr


def test_mutated_deposits_are_read_right_or_refused(tmp_path: Path) -> None:
    code, outcomes, said = fuzz(tmp_path, "--cases", "150", "--seed", "20261126")
    assert code == 0, said
    assert len(outcomes) == 150
    assert {outcome["deposit"].split("/")[0] for outcome in outcomes} >= {
        "st_v1",
        "visium",
        "visium_hd",
        "xenium",
        "picture",
    }
    verdicts = [outcome["verdict"] for outcome in outcomes]
    assert verdicts.count("refused") > 60
    assert verdicts.count("right") > 10


@pytest.mark.parametrize(
    ("reader", "role", "name", "kind"),
    [
        ("xenium", "counts", "matrix.mtx.gz", "counts"),  # the table of cells has their sums
        ("picture", "image", "a.png", "colours"),  # a PNG has checksums
        ("picture", "image", "a.tif", "another size"),  # its strips and tiles are counted
        ("visium", "spots", "tissue_positions.csv", "pixels moved"),  # the others are on a lattice
        ("visium", "spots", "tissue_positions.csv", "in_tissue changed"),  # the matrix holds the same barcodes
        ("visium", "counts", "matrix.h5", "units lost"),
    ],
)
def test_what_a_deposit_says_twice_has_no_excuse(reader: str, role: str, name: str, kind: str) -> None:
    assert fuzz_arguments.why(reader, role, name, kind) is None
    assert fuzz_arguments.why("visium", "counts", "matrix.h5", "counts")
