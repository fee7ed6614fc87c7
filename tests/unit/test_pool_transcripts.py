"""Transcripts pooled into spots: every count where a slow count of single ones has it, or left out for a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from real_data import real
from spotweave import pooling
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.pool import points as pool_points
from spotweave.pool.grids import Grid
from spotweave.pool.points import Points
from spotweave.pool.units import BETWEEN, OFF_PICTURE
from spotweave.pooling import CONSERVATION, Options, Parts, pool_sample
from spotweave.pooling import transcripts as way
from spotweave.readers.xenium import read as xenium
from spotweave.simulate.xenium import CONTROLS, calls_of, draw_truth
from spotweave.simulate.xenium_layouts import VARIANTS
from spotweave.slide_map import SlideMap
from spotweave.xenium import calls
from spotweave.xenium.warping import IMAGED, METADATA, warp_transcripts

ROOT = Path(__file__).resolve().parents[2]
GENES = ["A", "B", "C"]
MPP = 0.5
REASON = dict(zip(("panel", "quality", "position"), calls.REASONS[1:], strict=True))


def table_of(**columns) -> pa.Table:
    """Transcripts of good quality, all of A, but for what is given."""
    rows = len(columns["he_x"])
    filled = {"feature_name": ["A"] * rows, "qv": np.full(rows, 40, np.float32), **columns}
    return pa.table(filled)


@pytest.fixture
def parts(tmp_path):
    """Writes what is pooled: transcripts, and counts of cells of the genes."""

    def written(table: pa.Table, *, size_px=(2000, 1000), genes=GENES, rows=1 << 20, imaged=None) -> Parts:
        var = pd.DataFrame({"gene_id": [f"ENSG{k}" for k in range(len(genes))], "genome": ""}, index=genes)
        found = Parts(*(tmp_path / name for name in ("e.h5ad", "alignment.json", "units.parquet", "t.parquet")))
        anndata.AnnData(sparse.csr_matrix((1, len(genes)), dtype=np.float32), var=var).write_h5ad(found.expression)
        content = {"image_width_px": size_px[0], "image_height_px": size_px[1], "pixel_size_um": MPP}
        found.alignment.write_text(json.dumps(content))
        if imaged is not None:
            table = table.replace_schema_metadata({METADATA: json.dumps({IMAGED: imaged})})
        pq.write_table(table, found.transcripts, row_group_size=rows)
        return found

    return written


def dense(pool: anndata.AnnData) -> dict[tuple[int, int, str], int]:
    """(row, column, gene) -> count, of those that are not 0."""
    spot, gene = pool.X.nonzero()
    rows, columns = pool.obs["array_row"].to_numpy(), pool.obs["array_col"].to_numpy()
    return {
        (int(rows[s]), int(columns[s]), str(pool.var_names[g])): int(pool.X[s, g])
        for s, g in zip(spot, gene, strict=True)
    }


def slow_places(grid: Grid, x_um: float, y_um: float, origin_um=(0.0, 0.0)) -> tuple[int, int] | None:
    """The spot that a point lies in, found by looking at those around; None between round spots."""
    if grid.layout != "hexagonal":
        return int((y_um - origin_um[1]) // grid.size_um), int((x_um - origin_um[0]) // grid.size_um)
    near_row, near_column = int(y_um / grid.row_pitch_um), int(x_um / grid.pitch_um * 2)
    for row in range(max(near_row - 3, 0), near_row + 3):
        for column in range(max(near_column - 4, 0), near_column + 4):
            centre_x = (column + 1) * grid.pitch_um / 2
            centre_y = (row + 1) * grid.pitch_um * 3**0.5 / 2
            if (row + column) % 2 == 0 and np.hypot(x_um - centre_x, y_um - centre_y) < grid.size_um / 2:
                return row, column
    return None


# --- points ---------------------------------------------------------------------------------------


# Multiples of an eighth of a um: on and off the lines between squares, exact in every type.
NUMBERS = st.integers(0, 8 * 400).map(lambda eighth: eighth / 8)


@settings(deadline=None)
@given(
    found=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 4)), max_size=60),
    layout=st.sampled_from(["square", "hexagonal"]),
    size_um=st.sampled_from([1.0, 8.0, 55.0, 100.0, 400.0]),
    cut=st.integers(1, 60),
    at_once=st.sampled_from([1, 3, 1 << 10]),
    most_in_table=st.sampled_from([0, 1 << 25]),
    largest=st.sampled_from([pool_points.LARGEST, 1]),
)
def test_points_are_summed_as_one_by_one(found, layout, size_um, cut, at_once, most_in_table, largest):
    grid = Grid(layout, size_um)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_points, "POINTS_AT_ONCE", at_once)
        patch.setattr(pool_points, "MOST_IN_TABLE", most_in_table)
        patch.setattr(pool_points, "LARGEST", largest)
        points = Points(grid, (0.0, 0.0, 400.0, 400.0), 5)
        between = 0
        for start in range(0, len(found), cut):
            x, y, gene = (np.array(one) for one in zip(*found[start : start + cut], strict=True))
            outside = points.add((x.astype(float), y.astype(float)), gene.astype(np.int32))
            between += 0 if outside is None else int(outside.sum())
        summed = points.result()
    expected = Counter((slow_places(grid, x, y), gene) for x, y, gene in found)
    assert between == sum(count for (spot, _), count in expected.items() if spot is None)
    spot, gene = summed.counts.nonzero()
    got = {
        ((int(summed.rows[s]), int(summed.columns[s])), int(g)): int(summed.counts[s, g])
        for s, g in zip(spot, gene, strict=True)
    }
    assert got == {key: count for key, count in expected.items() if key[0] is not None}
    assert summed.counts.has_canonical_format
    assert list(zip(summed.rows, summed.columns, strict=True)) == sorted({spot for spot, _ in got})


@pytest.mark.parametrize("most_in_table", [0, 1 << 25])
def test_no_count_is_too_large(most_in_table, monkeypatch):
    """70,000 are beyond 16 bits; beyond 32 bits the type grows."""
    monkeypatch.setattr(pool_points, "MOST_IN_TABLE", most_in_table)
    monkeypatch.setattr(pool_points, "POINTS_AT_ONCE", 1 << 12)
    for largest, kind in ((pool_points.LARGEST, np.int32), (200_000, np.int64)):
        monkeypatch.setattr(pool_points, "LARGEST", largest)
        points = Points(Grid("square", 55.0), (0.0, 0.0, 1000.0, 1000.0), 2)
        for _ in range(3):
            points.add((np.full(70_000, 30.0), np.full(70_000, 90.0)), np.ones(70_000, dtype=np.int32))
        summed = points.result()
        assert (summed.rows.tolist(), summed.columns.tolist(), summed.counts.toarray().tolist()) == (
            [1],
            [0],
            [[0, 210_000]],
        )
        assert summed.counts.dtype == kind


def test_sums_beyond_32_bits_are_exact(monkeypatch):
    """Counts that no machine adds up one by one: parts are put where the sums wait."""
    monkeypatch.setattr(pool_points, "MOST_IN_TABLE", 0)
    points = Points(Grid("square", 55.0), (0.0, 0.0, 10.0, 10.0), 1)
    points.add((np.zeros(3), np.zeros(3)), np.zeros(3, dtype=np.int32))
    points._count()
    points._points = 3 * 10**9
    points._sums[0] = points._sums[0].astype(np.int64) * 10**9
    points.add((np.zeros(2), np.zeros(2)), np.zeros(2, dtype=np.int32))
    assert points.result().counts.toarray().tolist() == [[3 * 10**9 + 2]]


# --- files ----------------------------------------------------------------------------------------


def drawn(seed: int, rows: int) -> pa.Table:
    """Transcripts on and off a picture of 2,000 x 1,000 px, of genes and controls, good and bad."""
    rng = np.random.default_rng(seed)
    names = np.array([*GENES, "NegControlProbe_1", "BLANK_0007"])
    x = rng.integers(-40, 2040, rows).astype(np.float32)
    x[rng.random(rows) < 0.02] = np.nan
    return table_of(
        feature_name=names[rng.choice(5, rows, p=[0.5, 0.3, 0.1, 0.05, 0.05])].tolist(),
        he_x=pa.array(x, from_pandas=True),
        he_y=rng.uniform(-10, 1010, rows).astype(np.float32),
        qv=rng.choice(np.array([5, 19.99, 20, 40, np.nan], np.float32), rows),
    )


@pytest.mark.parametrize("name", ["square_55um", "square_100um", "hexagonal_55um", "hexagonal_20um"])
def test_a_pool_is_a_slow_count(name, parts):
    table = drawn(1, 4000)
    pools, measures = pool_sample("transcripts", parts(table), [name])
    expected, left = Counter(), Counter()
    for one in table.to_pylist():
        gene, x, y = one["feature_name"], one["he_x"], one["he_y"]
        if gene not in GENES:
            left["negative_control_probe" if gene.startswith("Neg") else "blank_codeword"] += 1
        elif not one["qv"] >= 20:
            left["quality"] += 1
        elif x is None:
            left["position"] += 1
        elif not (0 <= x < 2000 and 0 <= y < 1000):
            left["off"] += 1
        else:
            spot = slow_places(Grid.of(name), x * MPP, y * MPP)
            left["between"] += spot is None
            expected.update([] if spot is None else [(*spot, gene)])
    assert dense(pools[name]) == expected
    assert pools[name].X.dtype == np.int32
    dropped = measures[CONSERVATION][name]["counts_dropped"]
    assert dropped[REASON["quality"]] == left["quality"] > 0
    assert dropped[REASON["position"]] == left["position"] > 0
    assert dropped[OFF_PICTURE] == left["off"] > 0
    assert dropped.get(BETWEEN, 0) == left["between"]
    assert dropped["control: negative_control_probe"] == left["negative_control_probe"] > 0
    assert dropped["control: blank_codeword"] == left["blank_codeword"] > 0
    assert measures[CONSERVATION][name]["counts_in"] == 4000
    by_feature = pools[name].uns[CONSERVATION]
    assert by_feature["counts_in"].to_dict() == Counter(table["feature_name"].to_pylist())
    assert (by_feature["counts_in"] == by_feature.drop(columns="counts_in").sum(axis=1)).all()


def test_neither_order_nor_pieces_nor_company_change_a_pool(parts, monkeypatch):
    table = drawn(2, 3000)
    grids = ["square_55um", "hest_100um", "hexagonal_55um"]
    whole, measured = pool_sample("transcripts", parts(table), grids)
    monkeypatch.setattr(way, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(pool_points, "POINTS_AT_ONCE", 50)
    monkeypatch.setattr(pool_points, "MOST_IN_TABLE", 0)
    shuffled = table.take(np.random.default_rng(0).permutation(3000))
    pieces, again = pool_sample("transcripts", parts(shuffled, rows=101), grids)
    alone = {name: pool_sample("transcripts", parts(shuffled), [name])[0][name] for name in grids}
    for name in grids:
        for other in (pieces[name], alone[name]):
            assert (whole[name].X != other.X).nnz == 0
            pd.testing.assert_frame_equal(whole[name].obs, other.obs)
            pd.testing.assert_frame_equal(whole[name].var, other.var)
            left, right = whole[name].uns[CONSERVATION], other.uns[CONSERVATION]
            assert set(left) == set(right)
            pd.testing.assert_frame_equal(
                left.sort_index(axis=0).sort_index(axis=1), right.sort_index().sort_index(axis=1)
            )
    assert measured["control_rate"] == again["control_rate"] > 0


def test_a_picture_of_whole_spots_has_whole_spots(parts):
    """110 x 220 um: 2 x 4 squares of 55 um. Points on the last lines are off the picture; those between go right."""
    xs, ys = np.meshgrid(np.arange(0, 441, 110.0), np.arange(0, 221, 110.0))
    table = table_of(he_x=xs.ravel(), he_y=ys.ravel())
    imaged = [[0, 0], [440, 0], [440, 220], [0, 220]]
    pools, measures = pool_sample("transcripts", parts(table, size_px=(440, 220), imaged=imaged), ["square_55um"])
    pool = pools["square_55um"]
    assert pool.obs_names.tolist() == [f"{row:04d}x{column:04d}" for row in range(2) for column in range(4)]
    assert pool.X.toarray()[:, 0].tolist() == [1] * 8
    assert measures[CONSERVATION]["square_55um"]["counts_dropped"][OFF_PICTURE] == 7
    assert not pool.obs["is_partial"].any()
    np.testing.assert_array_equal(pool.obs[["x_px", "y_px"]].to_numpy()[[0, 3, 7]], [[55, 55], [385, 55], [385, 165]])


def test_spots_beyond_what_was_imaged_are_partial(parts):
    """A turned section on a picture that is larger."""
    rng = np.random.default_rng(0)
    imaged = shapely.affinity.rotate(shapely.box(300, 200, 1700, 800), 20)
    xy = rng.uniform((0, 0), (2000, 1000), (60_000, 2))
    xy = xy[shapely.contains_xy(imaged, xy)]
    corners = np.asarray(imaged.exterior.coords[:-1]).tolist()
    table = table_of(he_x=xy[:, 0], he_y=xy[:, 1])
    pools, _ = pool_sample("transcripts", parts(table, imaged=corners), ["square_55um", "hexagonal_55um"])
    picture = imaged.intersection(shapely.box(0, 0, 2000, 1000))
    for name, pool in pools.items():
        for x, y, partial in pool.obs[["x_px", "y_px", "is_partial"]].itertuples(index=False):
            around = (
                shapely.box(x - 55, y - 55, x + 55, y + 55) if name[0] == "s" else shapely.Point(x, y).buffer(55, 256)
            )
            assert partial == (not picture.covers(around)), (name, x, y)
        assert 0 < pool.obs["is_partial"].sum() < pool.n_obs


def test_nothing_to_count_is_an_empty_pool_that_says_why(parts):
    bad = table_of(he_x=[5.0, 6.0], he_y=[5.0, 6.0], qv=np.array([1, 2], np.float32))
    pools, measures = pool_sample("transcripts", parts(bad), ["square_55um", "hexagonal_55um", "hest_100um"])
    assert [pool.n_obs for pool in pools.values()] == [0, 0, 1]
    assert measures[CONSERVATION]["square_55um"]["counts_dropped"][REASON["quality"]] == 2
    assert (measures["control_rate"], measures["low_quality_rate"]) == (None, 1.0)
    pools, measures = pool_sample("transcripts", parts(bad.slice(0, 0)), ["square_55um", "hest_100um"])
    assert [pool.shape for pool in pools.values()] == [(0, 3), (0, 3)]
    assert measures["transcripts"] == 0


def test_every_rule_that_a_file_allows_makes_a_control(parts):
    table = table_of(
        feature_name=["A", "A", "A", "antisense_B", "B", None, "Z", "A", "A"],
        codeword_category=[
            "predesigned_gene",
            "custom_gene",
            "unassigned_codeword",
            "predesigned_gene",
            None,
            "predesigned_gene",
            "predesigned_gene",
            "a/b",
            "predesigned_gene",
        ],
        is_gene=[True, True, False, True, True, True, True, False, False],
        he_x=np.full(9, 5.0),
        he_y=np.full(9, 5.0),
    )
    pools, measures = pool_sample("transcripts", parts(table), ["square_55um"])
    assert dense(pools["square_55um"]) == {(0, 0, "A"): 2, (0, 0, "B"): 1}
    dropped = measures[CONSERVATION]["square_55um"]["counts_dropped"]
    assert {reason: count for reason, count in dropped.items() if count} == {
        "control: unassigned_codeword": 1,
        "control: antisense_control": 1,
        "control: a_b": 1,
        "control: other_control": 1,
        REASON["panel"]: 2,
    }
    assert measures["control_rate"] == 4 / 7
    assert pools["square_55um"].uns[CONSERVATION].loc["(no name)", REASON["panel"]] == 1


def test_what_cannot_be_pooled_is_refused(parts, monkeypatch):
    good = table_of(he_x=[5.0] * 3, he_y=[5.0] * 3)
    with pytest.raises(
        Refusal, match="bins_16um: transcripts have no array to pool in; choose a grid such as square_55um"
    ):
        pool_sample("transcripts", parts(good), ["bins_16um"])
    without = parts(good)
    with pytest.raises(Refusal, match=r"no transcripts to pool; give the transcripts\.parquet of the bundle"):
        pool_sample("transcripts", Parts(without.expression, without.alignment, without.units), ["square_55um"])
    other = table_of(he_x=[5.0] * 3, he_y=[5.0] * 3, feature_name=["X", "A", "Y"])
    with pytest.raises(
        Refusal, match="2 transcripts are of features that the counts of the cells do not have, 'X' first"
    ):
        pool_sample("transcripts", parts(other), ["square_55um"])
    far = table_of(he_x=[5.0, 4e7], he_y=[5.0, 4e7])
    with pytest.raises(Refusal, match=r"spots of hest_100um cover the transcripts, which span 20,000 x 20,000 mm"):
        pool_sample("transcripts", parts(far), ["hest_100um"])
    assert pool_sample("transcripts", parts(far), ["square_55um"])[0]["square_55um"].X.sum() == 1
    with pytest.raises(Refusal, match=r"spots of square_1um cover the transcripts"):
        pool_sample("transcripts", parts(far, size_px=(60_000, 60_000)), ["square_1um"])
    monkeypatch.setattr(calls, "MOST_FEATURES", 4)
    with pytest.raises(Refusal, match="more than 4 different features"):
        pool_sample("transcripts", parts(other), ["square_55um"])
    many = table_of(he_x=[5.0] * 70, he_y=[5.0] * 70, codeword_category=[f"kind {k}" for k in range(70)])
    with pytest.raises(Refusal, match="more than 60 kinds of controls, 'kind 60' the last"):
        pool_sample("transcripts", parts(many), ["square_55um"])


def test_the_preset_is_labelled_and_counts_everything(parts):
    table = drawn(3, 500)
    pools, measures = pool_sample("transcripts", parts(table), ["hest_100um", "square_100um"])
    hest, square = pools["hest_100um"], pools["square_100um"]
    assert (hest.uns["grid"]["preset"], square.uns["grid"]["preset"]) == ("hest", "")
    assert measures["flags"] == [
        "hest_preset: hest_100um counts controls and transcripts of any quality, for comparison with HEST-1k only"
    ]
    lost = int(table["he_x"].null_count)
    assert hest.X.sum() == 500 - lost > square.X.sum()
    assert hest.var_names.tolist() == [*GENES, "BLANK_0007", "NegControlProbe_1"]
    assert measures[CONSERVATION]["hest_100um"]["counts_dropped"] == {REASON["position"]: lost}


# --- bundles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_layout_is_pooled_to_the_drawn_transcripts(name, tmp_path):
    """Cells by number and by text, names as bytes, parquet and packed text, with and without categories."""
    truth = draw_truth(5)
    files = {role: RawFile(path.name, path) for role, path in VARIANTS[name].write(tmp_path / "raw", truth).items()}
    xenium.read(files).write(tmp_path / "e.h5ad", tmp_path / "spots.csv")
    to_slide = np.linalg.inv(truth.he_to_dapi) @ np.diag([1 / truth.pixel_size_um, 1 / truth.pixel_size_um, 1.0])
    slide_map = SlideMap(to_slide)
    warp_transcripts(files["transcripts"], slide_map, tmp_path / "t.parquet")
    drawn_calls = calls_of(truth, VARIANTS[name].version)
    he = slide_map.to_slide(drawn_calls[["x", "y"]].to_numpy(dtype=float))
    size_px = np.ceil(he.max(axis=0)).astype(int) + 1
    mpp = slide_map.pixel_size_um
    content = {"image_width_px": int(size_px[0]), "image_height_px": int(size_px[1]), "pixel_size_um": mpp}
    (tmp_path / "a.json").write_text(json.dumps(content))
    made = Parts(tmp_path / "e.h5ad", tmp_path / "a.json", tmp_path / "u.parquet", tmp_path / "t.parquet")
    pools, measures = pool_sample("transcripts", made, ["square_20um"])
    inside = (he >= 0).all(axis=1)
    counted = (drawn_calls["control"] == "") & (drawn_calls["qv"] >= 20) & inside
    expected = Counter(
        (int(y * mpp // 20), int(x * mpp // 20), gene)
        for (x, y), gene in zip(
            he[counted].astype(np.float32).astype(float), drawn_calls["feature"][counted], strict=True
        )
    )
    assert dense(pools["square_20um"]) == expected
    dropped = measures[CONSERVATION]["square_20um"]["counts_dropped"]
    by_kind = Counter(drawn_calls["control"][drawn_calls["control"] != ""].map(lambda kind: CONTROLS[kind][1]))
    found = sum(count for reason, count in dropped.items() if reason.startswith("control"))
    assert found == by_kind.total() > 0
    good = (drawn_calls["qv"] >= 20).to_numpy()
    is_control = (drawn_calls["control"] != "").to_numpy()
    assert measures["control_rate"] == (good & is_control).sum() / good.sum()
    assert measures["low_quality_rate"] == pytest.approx((~good & ~is_control).sum() / (~is_control).sum())


def test_the_real_transcripts_by_reason(tmp_path, parts):
    """10,000 transcripts of a real section: the numbers are those of a few lines of pandas."""
    frame = pd.read_parquet(real("data", "xenium_fragments", "transcripts.parquet"))
    prefix = frame["feature_name"].str.extract("^(NegControlProbe|NegControlCodeword|BLANK|antisense|Unassigned)_")[0]
    genes = sorted(frame["feature_name"][prefix.isna()].unique())
    counted = frame[prefix.isna() & (frame["qv"] >= 20)]
    table = pa.Table.from_pandas(frame.assign(he_x=frame["x_location"] / 0.5, he_y=frame["y_location"] / 0.5))
    found = parts(table, size_px=(20_000, 20_000), genes=genes)
    pools, measures = pool_sample("transcripts", found, ["square_55um", "square_100um", "hexagonal_55um"])
    for size_um in (55, 100):
        pool = pools[f"square_{size_um}um"]
        row = counted["y_location"].astype(float) // size_um
        expected = Counter(
            zip(row, counted["x_location"].astype(float) // size_um, counted["feature_name"], strict=True)
        )
        assert dense(pool) == expected
    dropped = {key: value for key, value in measures[CONSERVATION]["square_55um"]["counts_dropped"].items() if value}
    print(f"10,000 transcripts: {len(counted):,} counted; {dropped}; control rate {measures['control_rate']:.4f}")
    assert dropped == {
        REASON["quality"]: int((prefix.isna() & (frame["qv"] < 20)).sum()),
        "control: negative_control_probe": int((prefix == "NegControlProbe").sum()),
        "control: negative_control_codeword": int((prefix == "NegControlCodeword").sum()),
        "control: blank_codeword": int((prefix == "BLANK").sum()),
    }
    assert (len(counted), sum(dropped.values())) == (8617, 1383)
    good_controls = int((prefix.notna() & (frame["qv"] >= 20)).sum())
    assert measures["control_rate"] == good_controls / (good_controls + len(counted))


def test_the_preset_is_what_hest_library_counts(tmp_path, parts):
    """Its own numbers, from its own code on the same transcripts at .25 um/px."""
    oracle = np.load(real("data", "method_oracles", "hest_pooling.npz"))
    frame = pd.read_parquet(real("data", "xenium_fragments", "transcripts.parquet"))
    xy = frame[["x_location", "y_location"]].astype(np.float64) / 0.25
    table = pa.Table.from_pandas(frame.assign(he_x=xy["x_location"], he_y=xy["y_location"]))
    genes = sorted(name for name in frame["feature_name"].unique() if not name.startswith(("NegControl", "BLANK")))
    found = parts(table, size_px=(20_000, 20_000), genes=genes)
    found.alignment.write_text(found.alignment.read_text().replace(str(MPP), "0.25"))
    pools, _ = pool_sample("transcripts", found, ["hest_100um", "hest_55um", "hest_20um"])
    for size in ("100um", "55um", "20um"):
        pool = pools[f"hest_{size}"]
        assert set(pool.var_names) == set(oracle[f"{size}/genes"])
        assert pool.obs_names.tolist() == oracle[f"{size}/spot"].tolist()
        np.testing.assert_array_equal(pool[:, oracle[f"{size}/genes"].tolist()].X.toarray(), oracle[f"{size}/counts"])
        np.testing.assert_allclose(pool.obs[["x_px", "y_px"]], oracle[f"{size}/centre_px"], rtol=0, atol=1e-6)


# --- the job --------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/pool_sample.py"), "--pooling", "transcripts", "--min-qv", "20"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)


def options_of(found: Parts) -> list[str | Path]:
    named = ("expression", "alignment", "units", "transcripts")
    return [part for name in named for part in (f"--{name}", getattr(found, name))]


def test_the_job_writes_a_file_a_grid_and_the_same_bytes_twice(parts, tmp_path):
    found = parts(drawn(4, 2000))
    pq.write_table(pa.table({"unit_id": ["a"]}), found.units)
    bytes_of = []
    for turn in ("one", "two"):
        pools = [tmp_path / turn / f"{name}.h5ad" for name in ("square_55um", "hexagonal_55um")]
        record = tmp_path / turn / "record.json"
        done = run(
            *options_of(found), "--grids", "square_55um", "hexagonal_55um", "--pools", *pools, "--record", record
        )
        assert done.returncode == 0, done.stderr
        bytes_of.append([path.read_bytes() for path in (*pools, record)])
    assert bytes_of[0] == bytes_of[1]
    assert json.loads(record.read_text())["measures"][CONSERVATION]["square_55um"]["counts_in"] == 2000
    pool, conservation = pooling.read_pool(pools[0])
    assert pool.X.dtype == np.float32
    assert conservation == json.loads(record.read_text())["measures"][CONSERVATION]["square_55um"]
    assert {"grid", CONSERVATION} <= set(pool.uns)


def test_a_refusal_marks_every_pool(parts, tmp_path):
    found = parts(table_of(he_x=[5.0] * 3, he_y=[5.0] * 3, feature_name=["X", "Y", "Z"]))
    pq.write_table(pa.table({"unit_id": ["a"]}), found.units)
    pools = [tmp_path / f"{name}.h5ad" for name in ("square_55um", "square_100um")]
    record = tmp_path / "record.json"
    done = run(*options_of(found), "--grids", "square_55um", "square_100um", "--pools", *pools, "--record", record)
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text())["status"] == "refused"
    assert len({path.read_bytes() for path in pools}) == 1
    assert pools[0].read_bytes().startswith(b"spotweave: refused")


def test_quality_follows_the_configuration(parts):
    table = table_of(he_x=[5.0] * 4, he_y=[5.0] * 4, qv=np.array([10, 20, 30, 40], np.float32))
    for min_qv, kept in ((0.0, 4), (20.0, 3), (30.5, 1)):
        pools, measures = pool_sample("transcripts", parts(table), ["square_55um"], Options(min_qv))
        assert (int(pools["square_55um"].X.sum()), measures["min_qv"]) == (kept, min_qv)
