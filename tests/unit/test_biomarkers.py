"""Morphology against expression: what chance does is what is said, and what is planted is found."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import ndimage, stats
from statsmodels.stats.multitest import multipletests

from drawn_nuclei import Store, write_store, write_table
from spotweave.biomarkers.autocorrelation import correlograms
from spotweave.biomarkers.bootstrap import block_side, intervals
from spotweave.biomarkers.correlate import COLUMNS, correlate
from spotweave.biomarkers.figures import label_of, p_text
from spotweave.biomarkers.sample import Outputs, explore
from spotweave.biomarkers.settings import Settings
from spotweave.biomarkers.shifts import effective_size, p_by_rank, p_of_size, shifted
from spotweave.biomarkers.units import Files, Units
from spotweave.errors import Refusal
from spotweave.nuclei.matching import match_cells
from spotweave.nuclei.measuring import measure_spots
from spotweave.nuclei.morphology import FEATURES
from spotweave.simulate.planted import Planted
from spotweave.simulate.section_pair import draw_pair
from spotweave.simulate.xenium_section import draw_section

PITCH_UM = 100.0
WIDTHS_UM = (120.0, 350.0)  # of fields on a section 3.4 mm wide
WIDEST = ("clifford", 350.0)
MAPS = 40
SECTIONS = 6


def section() -> np.ndarray:
    """Spots (N, 2) on a lattice, within a bent outline with a hole and gaps where spots have no nuclei."""
    row, column = np.mgrid[0:40, 0:36]
    xy = np.stack([(column + 0.5 * (row % 2)) * PITCH_UM, row * PITCH_UM * np.sqrt(0.75)], axis=-1).reshape(-1, 2)
    away = xy - (1750, 1700)
    angle = np.arctan2(*away.T[::-1])
    inside = np.hypot(*away.T) < 1500 + 250 * np.sin(2 * angle + 1) + 150 * np.sin(5 * angle)
    inside &= np.hypot(*(away - (350, 150)).T) > 250
    return xy[inside & (np.random.default_rng(1).random(len(xy)) < 0.85)]


def fields(rng: np.random.Generator, xy_um: np.ndarray, count: int, width_um: float) -> np.ndarray:
    """Gaussian fields (N, count) of mean 0 and variance 1, of autocorrelation exp(-(h / 2 width)^2); 0 is white."""
    if not width_um:
        return rng.standard_normal((len(xy_um), count))
    step, side = 100.0, 80
    found = np.empty((len(xy_um), count))
    for index in range(count):
        noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), width_um / step, mode="wrap")
        noise *= 2 * np.sqrt(np.pi) * width_um / step
        found[:, index] = ndimage.map_coordinates(noise, xy_um.T / step, order=1, mode="grid-wrap")
    return found


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


@cache
def unrelated(width_um: float) -> dict[str, np.ndarray]:
    """P of `SECTIONS` times `MAPS` independent pairs of unrelated maps, by way of testing."""
    xy_um, found = section(), {name: [] for name in ("naive", "shifts", "rank", "clifford")}
    for number in range(SECTIONS):
        rng = np.random.default_rng([7, number, int(width_um)])
        x, y = fields(rng, xy_um, MAPS, width_um), fields(rng, xy_um, MAPS, width_um)
        r, null = correlation(x, y), shifted(x, y, xy_um, permutations=199, seed=number)
        assert null is not None
        found["naive"].append(p_of_size(r, len(xy_um)))
        found["shifts"].append(p_of_size(r, effective_size(null)))
        found["rank"].append(p_by_rank(r, null))
        found["clifford"].append(p_of_size(r, 1 + 1 / correlograms(x, y, xy_um, number).variance()))
    return {name: np.concatenate([np.diag(p) for p in ps]) for name, ps in found.items()}


@pytest.mark.parametrize(
    ("way", "width_um"),
    # Clifford's way knows too little of maps as wide as a section: docs/biomarkers.md.
    [(way, width) for way in ("shifts", "rank", "clifford") for width in (0.0, *WIDTHS_UM) if (way, width) != WIDEST],
)
def test_unrelated_maps_are_significant_at_the_nominal_rate(way: str, width_um: float) -> None:
    p = unrelated(width_um)[way]
    assert len(p) == 240
    for level in (0.05, 0.2):
        low, high = stats.binom.ppf([0.002, 0.998], len(p), level)
        # Ranks are those of shifts that are alike too, and too few to tell far out: they may claim less, never more.
        assert (low if way != "rank" else 0) <= (p <= level).sum() <= high, (level, (p <= level).mean())


@pytest.mark.parametrize("width_um", WIDTHS_UM)
def test_taking_neighbours_for_independent_fails(width_um: float) -> None:
    assert (unrelated(width_um)["naive"] < 0.05).mean() > 0.3


@pytest.mark.parametrize(("width_um", "truth"), [(0.0, 0.5), (200.0, 0.0), (200.0, 0.5)])
def test_intervals_hold_the_planted_correlation_as_often_as_they_say(width_um: float, truth: float) -> None:
    held, widths = [], []
    for number in range(4):
        rng, xy_um = np.random.default_rng([8, number, int(width_um)]), section()
        feature = fields(rng, xy_um, MAPS, width_um)
        gene = truth * feature + np.sqrt(1 - truth**2) * fields(rng, xy_um, MAPS, width_um)
        units = Units("spot", list(map(str, range(MAPS))), [f"f{n}" for n in range(MAPS)], gene, feature, xy_um, 1.0)
        table, _ = correlate(units, Settings(permutations=99), number)
        own = table[table["gene"] == table["feature"].str[1:]]
        held += ((own["r_low"] <= truth) & (truth <= own["r_high"])).tolist()
        widths += (own["r_high"] - own["r_low"]).tolist()
    assert len(held) == 160
    assert stats.binom.ppf(0.002, len(held), 0.95) <= sum(held)
    assert np.mean(widths) < 0.9  # and say something


def test_autocorrelation_is_measured_right() -> None:
    xy_um = section()
    rng = np.random.default_rng(3)
    x, y = fields(rng, xy_um, 30, 200.0), fields(rng, xy_um, 30, 200.0)
    found = correlograms(x, y, xy_um, 0)
    middle_um = found.farther_um - PITCH_UM / 2
    near = middle_um < 600
    expected = np.exp(-((middle_um / 400) ** 2))
    assert found.expression.mean(axis=1)[near] == pytest.approx(expected[near], abs=0.12)
    # The product of both falls to a twentieth where exp(-2 (h / 400)^2) does.
    assert found.range_um() == pytest.approx(400 * np.sqrt(np.log(20) / 2), rel=0.35)
    white = correlograms(rng.standard_normal((len(xy_um), 5)), rng.standard_normal((len(xy_um), 5)), xy_um, 0)
    assert white.range_um() == 0
    assert white.variance() == pytest.approx(1 / (len(xy_um) - 1), rel=0.15)


def test_independent_units_are_worth_what_they_are_and_p_is_students() -> None:
    xy_um, rng = section(), np.random.default_rng(4)
    x, y = rng.standard_normal((len(xy_um), 6)), rng.standard_normal((len(xy_um), 6))
    null = shifted(x, y, xy_um, permutations=499, seed=0)
    assert null is not None
    assert effective_size(null).mean() == pytest.approx(len(xy_um), rel=0.1)
    expected = stats.pearsonr(x[:, 0], y[:, 0])
    assert p_of_size(np.array(expected.statistic), len(xy_um)) == pytest.approx(expected.pvalue)
    assert p_of_size(np.array(0.9), 2.5) == 1


def test_q_is_benjamini_and_hochbergs_over_all_pairs() -> None:
    units = drawn_units()
    table, _ = correlate(units, Settings(permutations=99), 1)
    assert list(table) == list(COLUMNS)
    assert table["q"].to_numpy() == pytest.approx(multipletests(table["p"], method="fdr_bh")[1], rel=1e-4)
    for row in table.iloc[:5].itertuples():
        x = units.expression[:, units.genes.index(str(row.gene))]
        y = units.morphology[:, units.features.index(str(row.feature))]
        expected = stats.pearsonr(x, y)
        assert (row.r, row.p_naive) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-4)


def drawn_units() -> Units:
    xy_um, rng = section(), np.random.default_rng(5)
    names = [f"G{n}" for n in range(8)], ["area_um2_mean", "extent_mean", "roughness_mean"]
    return Units("spot", *names, fields(rng, xy_um, 8, 100.0), fields(rng, xy_um, 3, 100.0), xy_um, 1.0)


def test_the_seed_decides_and_nothing_else() -> None:
    units = drawn_units()
    one, again, other = (correlate(units, Settings(permutations=99), seed)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert (one["p_permutation"] != other["p_permutation"]).any()
    assert (one["r"] == other["r"]).all()


def test_blocks_are_at_most_a_sixth_of_the_section() -> None:
    xy_um = section()
    assert block_side(xy_um, 300.0) == 300.0
    assert block_side(xy_um, 1e6) ** 2 * 6 == pytest.approx(np.ptp(xy_um, axis=0).prod())
    # Of independent units, blocks know no more than Fisher's interval.
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((len(xy_um), 10)), rng.standard_normal((len(xy_um), 10))
    low, high = intervals(x, y, xy_um, side_um=200.0, draws=800, seed=0)
    assert (high - low).mean() == pytest.approx(2 * 1.96 / np.sqrt(len(xy_um) - 3), rel=0.1)


def test_units_on_a_line_are_not_tested() -> None:
    rng = np.random.default_rng(0)
    line = np.stack([np.arange(60) * 100.0, rng.random(60)], axis=1)
    units = Units("spot", ["A"], ["area_um2_mean"], rng.random((60, 1)), rng.random((60, 1)), line, 1.0)
    table, said = correlate(units, Settings(permutations=20), 0)
    assert table.empty
    assert "no shift" in said["note"]


# A simulated Xenium section, through files


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Any]:
    """SIMH001 follows the size of nuclei and SIMH002 does not; the true nuclei stand for found ones."""
    folder = tmp_path_factory.mktemp("section")
    pair = draw_pair(3, size_um=(700.0, 700.0), he_pixel_size_um=0.5, dapi_pixel_size_um=4.0)
    drawn = draw_section(pair, 3, transcripts_per_cell=120.0, planted=Planted())
    store, _ = write_store(folder, drawn)
    measure_spots(store.st, store.nuclei, store.tissue, store.alignment, folder / "spots.parquet")
    match_cells(store.nuclei, store.cells, store.alignment, folder / "matches.parquet")
    return store, drawn


def files_of(store: Store) -> Files:
    folder = store.st.parent
    return Files(store.st, folder / "spots.parquet", store.cells, store.nuclei, folder / "matches.parquet")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables without figures, which take longer than all the rest."""
    monkeypatch.setattr("spotweave.biomarkers.sample._draw", lambda *_: None)


def run(store: Store, folder: Path, files: Files | None = None, **settings: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    names = ("correlations.parquet", "matrix.png", "heatmaps.png", "scatter.png")
    chosen = Settings(**{"permutations": 199, "genes": ["SIMH001", "SIMH002", "SIMT008", "NOT-THERE"], **settings})
    measures = explore("S1", files or files_of(store), chosen, 1, Outputs(*(folder / name for name in names)))
    return pq.read_table(folder / names[0]).to_pandas(), measures


@pytest.mark.usefixtures("undrawn")
def test_what_is_planted_is_found_and_what_is_not_is_not(planted: tuple[Store, Any], tmp_path: Path) -> None:
    store, drawn = planted
    table, measures = run(store, tmp_path)
    assert (measures["level"], measures["model"], measures["genes_missing"]) == ("cell", "truth", ["NOT-THERE"])
    area = table[table["feature"] == "area_um2"].set_index("gene")
    counts = drawn.counts / np.maximum(drawn.counts.sum(axis=1), 1)[:, None]
    for gene in ("SIMH001", "SIMH002"):
        truth = np.corrcoef(np.log1p(1e4 * counts[:, drawn.genes.index(gene)]), drawn.pair.nucleus_area_um2)[0, 1]
        assert area["r_low"][gene] <= truth <= area["r_high"][gene]
        assert truth == pytest.approx({"SIMH001": Planted().r, "SIMH002": 0.0}[gene], abs=0.12)
    assert area["r_low"]["SIMH001"] <= Planted().r <= area["r_high"]["SIMH001"]
    assert area["q"]["SIMH001"] < 0.001
    assert area["q"]["SIMH002"] > 0.05
    assert measures["significant"] >= 5


@pytest.mark.usefixtures("undrawn")
def test_per_spot_too(planted: tuple[Store, Any], tmp_path: Path) -> None:
    table, measures = run(planted[0], tmp_path, level="spot", features=["area_um2", "nuclei_per_mm2", "extent_p90"])
    assert measures["level"] == "spot"
    assert set(table["feature"]) == {"area_um2_mean", "nuclei_per_mm2", "extent_p90"}
    area = table[table["feature"] == "area_um2_mean"].set_index("gene")
    assert area["r"]["SIMH001"] > 0.3
    assert area["q"]["SIMH002"] > 0.05


def test_figures_are_drawn_and_the_same_again(planted: tuple[Store, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(planted[0], tmp_path / name, pair=["SIMH001", "area_um2"], level="spot", permutations=19)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
            assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_an_empty_table_of_nuclei_gives_an_empty_result_with_its_reason(
    planted: tuple[Store, Any], tmp_path: Path
) -> None:
    store = planted[0]
    none = pd.DataFrame({name: pd.Series(dtype=float) for name in ("x_px", "y_px", *FEATURES)})
    write_table(tmp_path / "nuclei.parquet", none, 0.5, classes=[], note="the slide is too coarse for truth")
    spots, matches = tmp_path / "spots.parquet", tmp_path / "matches.parquet"
    assert (
        measure_spots(store.st, tmp_path / "nuclei.parquet", store.tissue, store.alignment, spots)["nuclei_in_spots"]
        is None
    )
    assert match_cells(tmp_path / "nuclei.parquet", store.cells, store.alignment, matches)["matched"] == 0
    files = Files(store.st, spots, store.cells, tmp_path / "nuclei.parquet", matches)
    table, measures = run(store, tmp_path, files)
    assert table.empty
    assert list(table) == list(COLUMNS)
    assert measures["note"] == "the slide is too coarse for truth"
    assert measures["top"] is None
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in ("matrix", "heatmaps", "scatter"))


def test_too_few_spots_and_genes_of_another_panel(planted: tuple[Store, Any], tmp_path: Path) -> None:
    _, measures = run(planted[0], tmp_path, genes=["GATA3"])
    assert "none of the genes" in measures["note"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": ["Neoplastic"]}, "knows Nucleus"),
        ({"features": ["colour"]}, "colour"),
        ({"features": ["colour"], "level": "spot"}, "colour"),
    ],
)
def test_what_the_files_do_not_have_is_refused(
    planted: tuple[Store, Any], tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        run(planted[0], tmp_path, **settings)


@pytest.mark.usefixtures("undrawn")
def test_cells_that_a_sample_does_not_have_are_refused(planted: tuple[Store, Any], tmp_path: Path) -> None:
    store = planted[0]
    with pytest.raises(Refusal, match="no cells"):
        run(store, tmp_path, Files(store.st, files_of(store).spots), level="cell")
    assert run(store, tmp_path, Files(store.st, files_of(store).spots))[1]["level"] == "spot"


@pytest.mark.usefixtures("undrawn")
def test_classes_of_nuclei_are_picked_per_spot_and_per_cell(planted: tuple[Store, Any], tmp_path: Path) -> None:
    store = planted[0]
    nuclei = pq.read_table(store.nuclei).to_pandas()[["x_px", "y_px", *FEATURES]]
    nuclei["class"] = np.where(nuclei["area_um2"] > 40, "Neoplastic", "Dead")
    write_table(tmp_path / "nuclei.parquet", nuclei, 0.5, classes=["Neoplastic", "Dead"])
    known = files_of(store)
    files = Files(known.st, known.spots, known.cells, tmp_path / "nuclei.parquet", known.matches)
    whole = run(store, tmp_path, files)[1]["units"]
    some = run(store, tmp_path, files, classes=["Neoplastic"])[1]["units"]
    assert some == pytest.approx(whole * (nuclei["class"] == "Neoplastic").mean(), rel=0.03)
    features = ["area_um2", "nuclei_per_mm2"]
    per_spot = run(store, tmp_path, files, classes=["Neoplastic"], level="spot", features=features)
    assert 50 <= per_spot[1]["units"] < run(store, tmp_path, files, level="spot", features=features)[1]["units"]
    assert per_spot[1]["features"] == 2


def test_words_of_figures() -> None:
    assert label_of("area_um2") == "area (µm²)"
    assert label_of("density_per_mm2_mean") == "density (per mm²), mean"
    assert label_of("nuclei_per_mm2") == "nuclei (per mm²)"
    assert label_of("major_axis_um_p90") == "major axis (µm), p90"
    assert p_text(0.001, 999) == "P ≤ 0.001"
    assert p_text(0.02, 999) == "P = 0.02"
