"""Defects that other tools for this job have had, and the test that keeps each out of this one.

Only what is built so far is listed: pooling, registration and nuclei bring their own.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
DEFECTS = {
    "TIFF resolution in inches read as if in mm, pixel sizes wrong by 1,000": (
        "unit/test_slide.py",
        "test_an_embedded_pixel_size_is_read_in_its_unit_or_not_believed",
    ),
    "pixel size from four pairs of spots, dependent on the order of the rows": (
        "unit/test_geometry.py",
        "test_the_order_of_the_spots_does_not_matter",
    ),
    "a picture of 3.24 um/px past the 1.15 um/px rule": (
        "unit/test_align_lattice.py",
        "test_a_reduced_picture_is_refused_with_its_number",
    ),
    "magnification by other bins than the paper's": (
        "unit/test_slide.py",
        "test_magnification_follows_the_bins_of_the_paper",
    ),
    "border and pale spots dropped from the patches without a word": (
        "unit/test_slide.py",
        "test_border_patches_are_kept_padded_white_and_flagged",
    ),
    "raw files moved beside the results": ("workflow/test_bad_input.py", "test_raw_input_is_not_touched"),
    "an interrupted file taken for a finished one because it exists": (
        "unit/test_stage.py",
        "test_a_failure_leaves_nothing",
    ),
    "results not rebuilt when code changed, all rebuilt when a clone's times changed": (
        "workflow/test_reruns.py",
        "test_an_edited_module_rebuilds_exactly_what_depends_on_it",
    ),
    "tables joined by position, so that a shuffled row gives another spot's counts": (
        "unit/test_reader_st_v1.py",
        "test_rows_in_any_order_missing_or_added_are_joined_by_place",
    ),
    "genes of the benchmark chosen with the test samples": (
        "unit/test_benchmark_predictions.py",
        "test_counts_of_the_test_samples_change_neither_genes_nor_predictions_of_the_strict_protocol",
    ),
    "ridge penalty fixed and the option ignored": (
        "unit/test_benchmark_probes.py",
        "test_the_penalty_is_chosen_as_a_plain_loop_over_scikit_learn_chooses_it",
    ),
    "one constant gene makes the mean correlation NaN": (
        "unit/test_benchmark_predictions.py",
        "test_a_gene_never_counted_in_the_test_sample_is_undefined_whether_or_not_the_table_lists_it",
    ),
    "correlations over pooled test samples only": (
        "unit/test_benchmark_predictions.py",
        "test_per_sample_scores_are_averaged_over_samples_then_genes",
    ),
    "controls and calls of low quality counted as genes": (
        "unit/test_pool_transcripts.py",
        "test_every_rule_that_a_file_allows_makes_a_control",
    ),
    "counts of a spot beyond 65,535 run over": ("unit/test_pool_transcripts.py", "test_no_count_is_too_large"),
    "a point on the last line of the grid falls out of the table": (
        "unit/test_pool_transcripts.py",
        "test_a_picture_of_whole_spots_has_whole_spots",
    ),
    "transcripts written unwarped": (
        "unit/test_xenium_warping.py",
        "test_every_layout_keeps_its_columns_and_gains_places",
    ),
    "an error page stored as data": (
        "faults/test_fetch_faults.py",
        "test_a_web_page_in_place_of_the_data_is_refused",
    ),
    "a short download kept": (
        "faults/test_fetch_faults.py",
        "test_a_body_that_stays_short_is_refused_with_both_numbers",
    ),
}


@pytest.mark.parametrize(("place", "name"), DEFECTS.values(), ids=list(DEFECTS))
def test_the_defect_has_a_test(place, name):
    tree = ast.parse((TESTS / place).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
