"""Xenium and Visium HD through the workflow: which jobs their samples have, and what is said of rows that cannot be."""

import csv

import pytest
import yaml

from project import ROOT, Project


def test_all_rows_of_the_hest_benchmark_have_a_way_to_its_tasks(tmp_path):
    with open(ROOT / "config/cohorts/hest_bench.csv", newline="") as handle:
        technologies = [row["technology"] for row in csv.DictReader(handle)]
    xenium = technologies.count("Xenium")
    assert (len(technologies), xenium) == (70, 15)
    config = yaml.safe_load((ROOT / "config/hest_bench.yaml").read_text())
    jobs = Project(tmp_path, tmp_path / "deposit", config).planned()
    own = ("register_sample", "warp_transcripts", "pool_sample", "assemble_cells")
    assert {rule: jobs.get(rule) for rule in own} == dict.fromkeys(own, xenium)
    assert jobs["describe_sample"] == jobs["embed_patches"] / 2 == len(technologies)


@pytest.mark.parametrize(
    ("technology", "unit", "own"),
    [
        ("Xenium", "", {"register_sample", "warp_transcripts", "pool_sample", "assemble_cells"}),
        ("Visium HD", "", {"pool_sample", "map_bins"}),
        ("Visium HD", "square_008um", {"pool_sample", "map_bins"}),
        ("Visium HD", "cell", {"pool_sample", "assemble_cells", "map_bins"}),
    ],
)
def test_a_sample_has_the_jobs_of_its_technology_and_unit(tmp_path, technology, unit, own):
    row = {
        "sample_id": "s1",
        "donor": "d1",
        "dataset_title": "t",
        "technology": technology,
        "species": "Homo sapiens",
        "source": "zenodo",
        "accession": "77",
        "unit": unit,
    }
    project = Project(tmp_path, tmp_path / "deposit", {"cohorts": ["config/cohorts/one.csv"], "tasks": []})
    with open(tmp_path / "config/cohorts/one.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(row))
        writer.writeheader()
        writer.writerow(row)
    jobs = project.planned()
    every = {"register_sample", "warp_transcripts", "pool_sample", "assemble_cells", "detect_fiducials", "map_bins"}
    assert set(jobs) & every == own
