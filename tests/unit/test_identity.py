"""The identity audit finds planted copies, and calls no two real sections one."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pyvips
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.stats import poisson

from real_data import DATA, NOT_HERE
from spotweave.deposits.raw import RawFile
from spotweave.identity import audit, expression, picture, places
from spotweave.identity.audit import Finding
from spotweave.identity.counted import Counted
from spotweave.io import is_refused, write_refused
from spotweave.readers.st_v1 import read as st_v1
from spotweave.readers.visium import read as visium
from spotweave.simulate.st_v1 import simulate_section
from spotweave.simulate.visium import draw_truth

ROOT = Path(__file__).resolve().parents[2]
SHARED = DATA
HER2ST = ("A1", "B4", "C2", "C3", "C4", "C5")
PICTURES = {
    **{name: f"her2st/{name}.jpg" for name in HER2ST[1:]},
    **{f"MOB{n}": f"mob/MOB{n}.jpg" for n in (1, 2, 3)},
    **{f"dlpfc-{n}": f"dlpfc/{n}/tissue_lowres_image.png" for n in (151507, 151669, 151673, 151676)},
    "anterior": "visium_mouse_brain_anterior/spatial/tissue_lowres_image.png",
    "posterior": "visium_mouse_brain_posterior_outs/spatial/tissue_lowres_image.png",
}
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{NOT_HERE}{SHARED}")


def counted(adata: AnnData) -> Counted:
    has_array = "array_col" in adata.obs
    places = adata.obs[["array_col", "array_row"]].to_numpy(np.int64) if has_array else None
    return Counted(csr_matrix(adata.X), adata.var_names.tolist(), places)


def section(seed: int, spots: int = 400, genes: int = 300, draw: int = 0) -> AnnData:
    """Counts of a section: genes of many levels, spots of many depths, on a lattice. `draw`: its reads, drawn anew."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(0.5, 1.2, genes)
    depth = rng.lognormal(0, 0.4, spots)
    counts = np.random.default_rng((seed, draw)).poisson(depth[:, None] * level[None, :])
    side = int(np.ceil(np.sqrt(spots)))
    places = np.array([(i % side, i // side) for i in range(spots)])
    obs = pd.DataFrame({"array_col": places[:, 0], "array_row": places[:, 1]}, index=[f"s{i}" for i in range(spots)])
    return AnnData(
        csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(genes)])
    )


def prints(**samples: AnnData) -> dict[str, dict[str, Any]]:
    nothing = {"whole": "", "tissue": ""}
    return {
        name: {"expression": expression.sketch(counted(adata)), "picture": nothing} for name, adata in samples.items()
    }


def permuted(adata: AnnData) -> AnnData:
    rng = np.random.default_rng(1)
    return adata[rng.permutation(adata.n_obs)][:, rng.permutation(adata.n_vars)].copy()


def renamed(adata: AnnData) -> AnnData:
    other = adata.copy()
    other.obs_names = [f"{name}-1_2" for name in adata.obs_names]
    other.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return other


def some_genes(adata: AnnData) -> AnnData:
    return adata[:, np.random.default_rng(2).choice(adata.n_vars, adata.n_vars // 10, replace=False)].copy()


def some_spots(adata: AnnData) -> AnnData:
    return adata[np.random.default_rng(3).choice(adata.n_obs, adata.n_obs // 2, replace=False)].copy()


def counted_again(adata: AnnData) -> AnnData:
    other = adata.copy()
    thinned = adata.X.copy()
    thinned.data = np.random.default_rng(4).binomial(thinned.data.astype(int), 0.97).astype(np.float32)
    thinned.eliminate_zeros()
    other.X = thinned
    return other


COPIES: dict[str, tuple[Callable[[AnnData], AnnData], str]] = {
    "exact": (lambda adata: adata.copy(), "certain"),
    "permuted rows and columns": (permuted, "certain"),
    "other names of spots and genes": (renamed, "certain"),
    "a tenth of the genes": (some_genes, "certain"),
    "half of the spots": (some_spots, "certain"),
    "half of the spots and a tenth of the genes": (lambda adata: some_genes(some_spots(adata)), "certain"),
    "counted again by another pipeline": (counted_again, "strong"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_planted_copy_is_found(kind: str) -> None:
    change, confidence = COPIES[kind]
    original = section(1)
    found = audit.find(prints(a=original, b=change(original), c=section(2), d=section(3)))
    assert {(one.sample_a, one.sample_b) for one in found} == {("a", "b")}
    assert {one.relation for one in found} == {"same_sample"}
    assert max(audit.CONFIDENCE.index(one.confidence) for one in found) == audit.CONFIDENCE.index(confidence)


def test_sections_drawn_alike_are_not_called_one() -> None:
    samples = {f"s{seed}": section(seed) for seed in range(12)}
    # The same expectations, drawn anew: closer than two sections of one block can be.
    assert audit.find(prints(**samples, again=section(0, draw=1))) == []


def thinned(adata: AnnData, kept: float, position: int, *, names: bool = True, seed: int = 5) -> AnnData:
    """A copy of which each read was kept by chance, the array laid another way and numbered from elsewhere."""
    other = adata.copy()
    other.X = adata.X.copy()
    other.X.data = np.random.default_rng(seed).binomial(adata.X.data.astype(int), kept).astype(np.float32)
    other.X.eliminate_zeros()
    at = adata.obs[["array_col", "array_row"]].to_numpy(int)
    x, y = at[:, 0], at[:, 1]
    x, y = x.max() - x if position & 1 else x, y.max() - y if position & 2 else y
    other.obs["array_col"], other.obs["array_row"] = (y + 7, x + 1) if position & 4 else (x + 7, y + 1)
    if not names:
        other.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return permuted(other)


@pytest.mark.parametrize("position", range(8))
@pytest.mark.parametrize("kept", [0.7, 0.3])
def test_a_copy_with_fewer_reads_is_found_however_its_array_lies(kept: float, position: int) -> None:
    original = section(1, spots=180)
    copies = prints(a=original, b=thinned(original, kept, position), c=section(2, spots=180), d=section(3, spots=180))
    (found,) = (one for one in audit.find(copies) if one.found_by == "reads")
    assert (found.sample_a, found.sample_b, found.relation, found.confidence) == ("a", "b", "same_sample", "strong")
    assert found.shared is not None and found.shared >= 175
    assert found.share == pytest.approx((1 - kept) / (1 + kept), abs=0.12), "closed form of a binomial thinning"


def test_a_copy_with_fewer_reads_is_found_under_other_gene_names_and_without_some_of_its_spots() -> None:
    original = section(1, spots=2000)
    part = some_spots(original)
    for copy in (thinned(original, 0.3, 3, names=False), thinned(part, 0.5, 6), thinned(part, 0.7, 0, names=False)):
        assert [one.found_by for one in audit.find(prints(a=original, b=copy, c=section(2, spots=2000)))] == ["reads"]


@pytest.mark.parametrize("position", [0, 3, 5])
def test_a_copy_that_lost_the_edge_of_its_array_is_found(position: int) -> None:
    original, rng = section(1, spots=1600), np.random.default_rng(4)
    # As tissue is, deep over areas and with spots of their own: maps one or two rows off still resemble each other.
    x, y = original.obs[["array_col", "array_row"]].to_numpy().T / 40
    depth = np.exp(np.sin(5 * x) + np.cos(4 * y) + 0.3 * rng.normal(size=1600))
    original.X = csr_matrix(rng.poisson(depth[:, None] * rng.lognormal(0.5, 1.2, 300)).astype(np.float32))
    inner = original[(original.obs["array_col"] >= 2) & (original.obs["array_row"] < 39)].copy()
    copies = prints(a=original, b=thinned(inner, 0.5, position), c=section(2))
    assert [(one.sample_a, one.sample_b, one.found_by) for one in audit.find(copies)] == [("a", "b", "reads")]


def test_the_dispersion_of_two_draws_is_one_with_the_standard_error_that_is_stated() -> None:
    rng = np.random.default_rng(3)
    for mean, share in ((4.0, 1.0), (40.0, 0.3), (2000.0, 0.1)):
        scores = []
        for _ in range(300):
            expected = mean * rng.lognormal(0, 0.5, 400)
            index, error = places.dispersion(rng.poisson(expected), rng.poisson(share * expected))
            scores.append((1 - index) / error)
        assert abs(np.mean(scores)) < 0.25
        assert np.std(scores) == pytest.approx(1, abs=0.15)
    few = np.full(places.LEAST_PLACES - 1, 9)
    assert places.dispersion(few, few) == (np.inf, np.inf)


def test_reads_dealt_out_evenly_say_nothing_of_where_they_come_from() -> None:
    rng = np.random.default_rng(0)
    alike = {}
    for name in "abc":
        even = section(1)
        even.X = csr_matrix(rng.multinomial(900, np.full(300, 1 / 300), size=400).astype(np.float32))
        alike[name] = even
    sketched = prints(**alike)
    assert {one["expression"]["places"] for one in sketched.values()} == {""}
    assert audit.find(sketched) == []


def test_large_arrays_are_summed_to_a_bounded_sketch_that_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_PLACES", 500)
    original, other = section(1, spots=1600), section(2, spots=1600)
    texts = [places.sketch(counted(one)) for one in (original, thinned(original, 0.5, 3), other)]
    assert all(len(text) <= 500 * 4 * (2 + places.GROUPS) * 4 / 3 + 4 for text in texts)
    assert [pair[:2] for pair in places.shared_reads(texts)] == [(0, 1)]


def test_genes_without_information_count_for_nothing() -> None:
    rng = np.random.default_rng(0)
    sparse = csr_matrix((rng.random((200, 500)) < 0.02).astype(np.float32))
    obs = pd.DataFrame({"array_col": range(200), "array_row": 0}, index=[f"s{i}" for i in range(200)])
    adata = AnnData(sparse, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(500)]))
    sketch = expression.sketch(counted(adata))
    assert sketch["genes_informative"] == 0
    assert sketch["entries"] == 0
    assert audit.find(prints(a=adata, b=adata.copy())) == []


def test_the_information_of_a_histogram_is_that_of_its_coincidences() -> None:
    # Two Poisson numbers of mean n agree with probability exp(-2n) I0(2n); the formula is its approximation.
    from scipy.special import ive

    for mean in (10, 100, 1000):
        exact = -np.log2(ive(0, 2 * mean))
        assert expression.information_bits(np.array([mean])) == pytest.approx(exact, abs=0.01)
    assert expression.information_bits(np.array([], dtype=np.int64)) == 0


def containment(a: list[int], b: list[int], size_a: int, size_b: int) -> tuple[float, int]:
    """Of two sketches, (0, 0) where they share nothing."""
    found = list(expression.containments([a, b], [size_a, size_b], 1))
    return found[0][2:] if found else (0.0, 0)


def test_containment_is_the_share_of_the_smaller_set() -> None:
    whole = list(range(0, 1000, 2))
    assert containment(whole, whole[:100], 500, 100) == (1.0, 100)
    assert containment(whole, list(range(1, 200, 2)), 500, 100) == (0.0, 0)
    assert containment([], whole, 0, 500) == (0.0, 0)
    assert containment([], [], 0, 0) == (0.0, 0)
    # Sketches of 10 of larger sets: only what lies below both ends is compared.
    assert containment(list(range(10)), list(range(0, 20, 2)), 500, 500) == (1.0, 5)


@given(st.lists(st.sets(st.integers(0, 60), max_size=40), max_size=8), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_containments_of_many_sets_are_those_of_each_pair(sets: list[set[int]], least: int) -> None:
    sketches = [sorted(one)[:12] for one in sets]
    expected = []
    for i, j in combinations(range(len(sets)), 2):
        ends = [sketches[k][-1] for k in (i, j) if len(sketches[k]) < len(sets[k])]
        first, second = ({one for one in sets[k] if one <= min(ends, default=60)} for k in (i, j))
        if len(first & second) >= least:
            share = len(first & second) / min(len(first), len(second))
            expected.append((i, j, pytest.approx(share), len(first & second)))
    assert list(expression.containments(sketches, [len(one) for one in sets], least)) == expected


def test_pairs_are_found_across_blocks_of_samples() -> None:
    sketches = [[1000 * number, 1000 * number + 1] for number in range(2 * expression.PAIRS_ROWS + 3)]
    sketches[-1] = sketches[5]
    assert list(expression.containments(sketches, [2] * len(sketches), 1)) == [(5, len(sketches) - 1, 1.0, 2)]


def test_zeros_that_a_file_stores_change_nothing() -> None:
    original, stored = section(1), section(1)
    values = original.X.toarray()
    rows, columns = np.indices(values.shape)
    stored.X = csr_matrix((values.ravel(), (rows.ravel(), columns.ravel())), shape=values.shape)
    assert stored.X.nnz > original.X.nnz
    assert expression.sketch(counted(stored)) == expression.sketch(counted(original))
    assert stored.X.nnz == values.size, "the sample's counts are left as they are"


def test_reads_counted_again_join_donors() -> None:
    original = section(1)
    found = audit.find(prints(a=original, b=counted_again(original)))
    assert [(one.found_by, one.confidence) for one in found] == [("reads", "strong"), ("spots", "strong")]
    for one in found:
        assert audit.donor_groups({"a": "A", "b": "B"}, [one]) == {"A": "A+B", "B": "A+B"}


@given(st.floats(0.01, 1000))
def test_sections_of_equal_expectation_share_by_chance_far_less_than_the_limit(mean: float) -> None:
    """The share of counts from 5 on that come out the same when every count is drawn anew from its own mean."""
    chance = poisson.pmf(np.arange(expression.MIN_COUNT, 3000), mean)
    assert (chance**2).sum() <= 0.125 * chance.sum() < audit.SKETCHES["spots"].same["strong"] / 2


def on_array(counts: Any, array_xy: Any, genes: Any) -> AnnData:
    obs = pd.DataFrame(array_xy, columns=["array_col", "array_row"], index=[f"s{i}" for i in range(len(counts))])
    return AnnData(csr_matrix(np.asarray(counts, dtype=np.float32)), obs=obs, var=pd.DataFrame(index=list(genes)))


def test_simulated_sections_of_other_seeds_are_not_called_one(tmp_path: Path) -> None:
    known = {}
    for seed in range(4):
        simulated = simulate_section(seed, donor=seed // 2, columns=6, rows=6)
        image = Image.fromarray(simulated.image)
        image.thumbnail((600, 600))
        (sketched,) = prints(one=on_array(simulated.counts, simulated.array_xy, simulated.genes)).values()
        known[f"st{seed}"] = {**sketched, "picture": hashes(image, tmp_path)}
        truth = draw_truth(seed, whole_array=False)
        known |= prints(**{f"visium{seed}": on_array(truth.counts, truth.array[:, ::-1], truth.ids)})
    assert audit.find(known) == []
    turned = hashes(image.transpose(Image.Transpose.ROTATE_90), tmp_path)
    (found,) = audit.find({**known, "zz": {**prints(x=section(0))["x"], "picture": turned}})
    assert (found.sample_a, found.sample_b, found.relation) == ("st3", "zz", "same_image")


def test_what_is_found_does_not_depend_on_the_order_of_the_samples() -> None:
    known = prints(b=section(1), a=permuted(section(1)), c=some_spots(section(1)), d=section(2))
    assert audit.find(known) == audit.find(dict(reversed(known.items()))) != []


def test_cells_without_an_array_are_compared_by_their_genes() -> None:
    cells = section(1)
    del cells.obs["array_col"], cells.obs["array_row"]
    assert expression.sketch(counted(cells))["spots"] == []
    (found,) = audit.find(prints(a=cells, b=permuted(cells)))
    assert found.found_by == "genes"


def test_a_fingerprint_is_the_same_bytes_every_time() -> None:
    assert json.dumps(expression.sketch(counted(section(1)))) == json.dumps(expression.sketch(counted(section(1))))


def reduced(name: str) -> Image.Image:
    small = pyvips.Image.thumbnail(str(SHARED / PICTURES[name]), 1000, height=1000, size="down")
    return Image.fromarray(small.numpy()[..., :3])


def hashes(image: Image.Image, folder: Path, quality: int = 90) -> dict[str, str]:
    image.save(folder / "copy.jpg", quality=quality)
    return picture.picture_hashes(folder / "copy.jpg")


def distance(a: dict[str, str], b: dict[str, str]) -> dict[str, float]:
    """Share of signs that differ, by kind of hash; NaN without one."""
    pairs = {kind: list(picture.close_pairs([a[kind], b[kind]], 2.0)) for kind in audit.PICTURE_SAME}
    return {kind: found[0][2] if found else np.nan for kind, found in pairs.items()}


def is_same(a: dict[str, str], b: dict[str, str]) -> bool:
    found = distance(a, b)
    return any(found[kind] < limit for kind, limit in audit.PICTURE_SAME.items())


TURNS = (None, *Image.Transpose)


@real
@pytest.mark.parametrize("name", PICTURES)
def test_a_changed_copy_of_a_real_picture_is_found(name: str, tmp_path: Path) -> None:
    original = reduced(name)
    known = hashes(original, tmp_path)
    for share, turns in ((1.0, TURNS[:1]), (0.5, TURNS), (0.2, TURNS)):
        small = original.resize((int(original.width * share), int(original.height * share)))
        for turn in turns:
            copy = small if turn is None else small.transpose(turn)
            assert is_same(known, hashes(copy, tmp_path, quality=60)), f"{name}, {share:.0%}, {turn}"
    width, height = original.size
    for left, top in ((0.03, 0.03), (0, 0), (0.015, 0.015), (0.03, 0)):
        box = (left * width, top * height, (left + 0.97) * width, (top + 0.97) * height)
        cropped = original.crop(tuple(round(edge) for edge in box))
        assert is_same(known, hashes(cropped, tmp_path)), f"{name}, cropped from {left:.1%}, {top:.1%}"


@real
def test_no_two_real_pictures_are_called_one(tmp_path: Path) -> None:
    known = {name: hashes(reduced(name), tmp_path) for name in PICTURES}
    for kind, limit in audit.PICTURE_SAME.items():
        assert list(picture.close_pairs([known[name][kind] for name in PICTURES], limit * 1.3)) == [], kind


@real
def test_no_two_real_sections_are_called_one() -> None:
    def raw(path: str) -> RawFile:
        return RawFile(Path(path).name, SHARED / path)

    samples = {
        name: st_v1.read({"counts": raw(f"her2st/{name}.tsv.gz"), "spots": raw(f"her2st/{name}_selection.tsv")}).adata
        for name in HER2ST
    } | {
        f"MOB{n}": st_v1.read(
            {"counts": raw(f"mob/MOB{n}.tsv.gz"), "spots": raw(f"mob/alignment_table_MOB{n}.tsv")}
        ).adata
        for n in (1, 2, 3)
    }
    known = prints(**samples)
    for name in ("anterior", "posterior_outs"):
        folder = f"visium_mouse_brain_{name}"
        matrix = "filtered_feature_bc_matrix"
        files = {"counts": raw(f"{folder}/{matrix}.h5")}
        if name == "posterior_outs":
            files = {"counts": raw(f"{folder}/{matrix}/matrix.mtx.gz")}
            files |= {role: raw(f"{folder}/{matrix}/{role}.tsv.gz") for role in ("features", "barcodes")}
        files["spots"] = raw(f"{folder}/spatial/tissue_positions_list.csv")
        samples[name] = visium.read(files).adata
        known |= prints(**{name: samples[name]})
    assert min(known[name]["expression"]["genes_informative"] for name in HER2ST) > 500
    assert audit.find(known) == []
    # Far from it: the limit of the weakest evidence is six times what consecutive sections share.
    sketches = [known[name]["expression"] for name in samples]
    spots = expression.containments([one["spots"] for one in sketches], [one["entries"] for one in sketches], 1)
    assert max(share for _, _, share, _ in spots) < 0.05 < audit.SKETCHES["spots"].same["strong"] / 5
    genes = [one["genes"] for one in sketches]
    assert list(expression.containments(genes, [one["genes_informative"] for one in sketches], 1)) == []
    copies = {"zz-copy": some_spots(samples["C3"]), "zz-panel": some_genes(samples["B4"])}
    copies |= {f"zz-{name}": some_genes(some_spots(samples[name])) for name in ("MOB1", "anterior")}
    copies["zz-again"] = counted_again(samples["MOB2"])
    # A fifth of the reads left and the array turned over: every real section is still known.
    for position, name in enumerate(samples):
        thin = audit.find({name: known[name], **prints(zz=thinned(samples[name], 0.2, position % 8))})
        assert [(one.sample_a, one.sample_b, one.found_by) for one in thin] == [(name, "zz", "reads")]
    found = audit.find({**known, **prints(**copies)})
    assert {(one.sample_a, one.sample_b) for one in found} == {
        ("C3", "zz-copy"),
        ("B4", "zz-panel"),
        ("MOB1", "zz-MOB1"),
        ("anterior", "zz-anterior"),
        ("MOB2", "zz-again"),
    }


def glass(seed: int, ratio: float) -> Image.Image:
    """Plain glass under uneven light."""
    y, x = np.mgrid[-1:1:300j, -1 : 1 : complex(0, int(300 * ratio))]
    light = 240 - 12 * (x**2 + y**2) + np.random.default_rng(seed).normal(0, 1, x.shape)
    return Image.fromarray(np.repeat(light[..., None], 3, axis=2).astype(np.uint8))


def test_two_pictures_of_plain_glass_are_not_called_one(tmp_path: Path) -> None:
    plain = [Image.new("RGB", (300, 300), (240, 240, 240)), Image.new("RGB", (500, 300), (243, 243, 243))]
    digests = [hashes(image, tmp_path) for image in (*plain, glass(1, 1), glass(2, 1), glass(3, 1.5))]
    assert digests == [{"whole": "", "tissue": ""}] * 5
    nothing = prints(a=section(1), b=section(2))
    assert audit.find({name: {**nothing[name], "picture": digests[0]} for name in nothing}) == []
    assert list(picture.close_pairs(["", "00" * 32], 2.0)) == []


def test_a_grey_picture_is_compared_as_a_whole(tmp_path: Path) -> None:
    y, x = np.mgrid[:400, :500]
    dark = 200 * np.exp(-(((x - 180) / 60) ** 2) - ((y - 150) / 90) ** 2)
    grey = Image.fromarray((240 - dark).astype(np.uint8))
    known = hashes(grey, tmp_path)
    assert known["tissue"] == ""
    assert is_same(known, hashes(grey.transpose(Image.Transpose.ROTATE_90).resize((200, 250)), tmp_path))


DONORS = {"a": "A", "b": "B", "c": "C", "d": "D"}


def pair(a: str, b: str, confidence: str = "certain") -> Finding:
    return Finding(a, b, "same_donor", confidence, "known")


def test_donors_are_joined_through_any_number_of_findings() -> None:
    groups = audit.donor_groups(DONORS, [pair("a", "b"), pair("b", "c")])
    assert groups == {"A": "A+B+C", "B": "A+B+C", "C": "A+B+C", "D": "D"}


def test_weak_evidence_joins_nobody_unless_asked_to() -> None:
    hint = [pair("a", "b", "hint")]
    assert audit.donor_groups(DONORS, hint) == {name: name for name in "ABCD"}
    assert audit.donor_groups(DONORS, hint, "hint")["A"] == "A+B"


def test_a_finding_leaks_only_where_the_donors_differ() -> None:
    assert audit.leaks(pair("a", "b"), DONORS)
    assert not audit.leaks(pair("a", "b"), {**DONORS, "b": "A"})
    assert not audit.leaks(Finding("a", "", "mixed_donors", "strong", "known"), DONORS)


def test_known_relations_are_told_of_samples_that_are_there() -> None:
    rows = [
        {
            "sample_a": "a",
            "sample_b": "b",
            "relation": "same_image",
            "confidence": "strong",
            "evidence": "e",
            "source": "s",
        },
        {
            "sample_a": "a",
            "sample_b": "z",
            "relation": "same_image",
            "confidence": "strong",
            "evidence": "e",
            "source": "s",
        },
        {"sample_a": "c", "relation": "mixed_donors", "confidence": "strong", "evidence": "e", "source": "s"},
    ]
    found = audit.known(rows, DONORS)
    assert [(one.sample_a, one.sample_b) for one in found] == [("a", "b"), ("c", "")]
    (first, second) = audit.table(found, DONORS)
    assert (first["leaks"], second["leaks"], first["evidence"]) == ("yes", "no", "e (s)")
    assert tuple(first) == audit.COLUMNS or set(first) == set(audit.COLUMNS)


def test_the_known_relations_hold_through_samples_that_are_not_there() -> None:
    """A task may hold the first and the last sample of a chain only: every pair of a chain needs its own row."""
    with (ROOT / "resources/identities.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sample_b"]]
    findings = audit.known(rows, {row[side] for row in rows for side in ("sample_a", "sample_b")})
    names = {name: name for one in findings for name in (one.sample_a, one.sample_b)}
    groups = audit.donor_groups(names, findings)
    stated = {frozenset((one.sample_a, one.sample_b)) for one in audit.joining(findings)}
    chained = {frozenset(two) for two in combinations(names, 2) if groups[two[0]] == groups[two[1]]}
    assert chained == stated


def test_the_scripts_pass_a_refused_sample_on_and_find_a_copy(tmp_path: Path) -> None:
    def run(script: str, *arguments: str) -> None:
        command = [sys.executable, str(ROOT / f"scripts/{script}.py"), *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    Image.new("RGB", (50, 50), "white").save(tmp_path / "thumbnail.jpg")
    original = section(1)
    for name, adata in {"a": original, "b": permuted(original)}.items():
        (tmp_path / name).mkdir()
        adata.write_h5ad(tmp_path / name / "e.h5ad")
        run(
            "fingerprint_sample",
            *("--expression", f"{name}/e.h5ad", "--thumbnail", "thumbnail.jpg"),
            *("--fingerprint", f"{name}/fingerprint.json", "--record", f"{name}/record.json"),
        )
    (tmp_path / "c").mkdir()
    write_refused(tmp_path / "c/e.h5ad")
    run(
        "fingerprint_sample",
        *("--expression", "c/e.h5ad", "--thumbnail", "thumbnail.jpg"),
        *("--fingerprint", "c/fingerprint.json", "--record", "c/record.json"),
    )
    assert is_refused(tmp_path / "c/fingerprint.json")
    run(
        "audit_identity",
        *("--samples", "a", "b", "c", "--donors", "A", "B", "C", "--fingerprints", "{sample}/fingerprint.json"),
        *("--known", "[]", "--table", "identity.csv"),
    )
    table = pd.read_csv(tmp_path / "identity.csv")
    assert list(zip(table["sample_a"], table["sample_b"], table["found_by"], table["leaks"], strict=True)) == [
        ("a", "b", "genes", "yes"),
        ("a", "b", "reads", "yes"),
        ("a", "b", "spots", "yes"),
    ]
    assert (tmp_path / "a/fingerprint.json").read_bytes() == (tmp_path / "b/fingerprint.json").read_bytes()


def flipped(bits: np.ndarray, number: int) -> str:
    """A hash with so many of its signs changed, not the constant term's."""
    other = bits.copy()
    other[1 + np.random.default_rng(number).choice(255, number, replace=False)] ^= 1
    return np.packbits(other).tobytes().hex()


@pytest.mark.parametrize(("whole", "tissue"), [(5, 40), (30, 12)])
def test_the_distance_of_a_pair_is_that_of_the_hash_that_shows_it_more_clearly(whole: int, tissue: int) -> None:
    bits = np.random.default_rng(0).integers(0, 2, 256).astype(np.uint8)
    known = {
        "a": dict.fromkeys(("whole", "tissue"), flipped(bits, 0)),
        "b": {"whole": flipped(bits, whole), "tissue": flipped(bits, tissue)},
    }
    sketches = {name: expression.sketch(counted(section(seed))) for seed, name in enumerate(known)}
    found = audit.find({name: {"expression": sketches[name], "picture": known[name]} for name in known})
    assert [one.share for one in found] == [round(min(whole, tissue) / 255, 4)]


def test_the_case_of_a_genes_name_changes_nothing() -> None:
    lower = section(1)
    lower.var_names = [name.lower() for name in lower.var_names]
    assert expression.sketch(counted(lower))["spots"] == expression.sketch(counted(section(1)))["spots"] != []


def test_a_copy_that_was_stretched_along_one_axis_has_the_same_tissue(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shape = np.hypot(
        *(np.mgrid[:400, :700] - np.array([200, 350])[:, None, None]) / np.array([150, 280])[:, None, None]
    )
    texture = np.clip(ndimage.gaussian_filter(rng.normal(size=(400, 700)), 18) * 25, -0.8, 0.8)
    stain = (120 * (shape < 1) * (1 + texture)).clip(0, 200)
    image = Image.fromarray(np.stack([240 - 0.2 * stain, 240 - stain, 240 - 0.3 * stain], axis=-1).astype(np.uint8))
    stretched = image.resize((700, 640))
    assert distance(hashes(image, tmp_path), hashes(stretched, tmp_path))["tissue"] < 0.1


def test_pairs_of_pictures_are_those_of_the_signs_themselves_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "PICTURES_AT_ONCE", 3)
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (4, 16, 16)).astype(np.uint8)[rng.integers(0, 4, 12)]
    bits ^= rng.random(bits.shape) < rng.uniform(0, 0.3, (12, 1, 1))
    bits[::2] = bits[::2].transpose(0, 2, 1)
    digests = ["" if number == 5 else np.packbits(one.ravel()).tobytes().hex() for number, one in enumerate(bits)]
    expected = []
    for i, j in combinations([number for number, digest in enumerate(digests) if digest], 2):
        plain, others = (picture.positions(digests[k]) for k in (i, j))
        share = min(float(np.mean(plain[0] != other)) for other in others)
        if share < 0.25:
            expected.append((i, j, pytest.approx(share, abs=1e-6)))
    assert len(expected) > 5
    assert list(picture.close_pairs(digests, 0.25)) == expected


def test_shared_reads_are_found_across_blocks_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SAMPLES_AT_ONCE", 2)
    sections = [section(seed) for seed in (1, 2, 3, 4)]
    thinned = sections[1].copy()
    thinned.X.data[:] = np.random.default_rng(0).binomial(thinned.X.data.astype(int), 0.7)
    texts = [places.sketch(counted(one)) for one in (sections[0], sections[1], sections[2], sections[3], thinned)]
    assert [pair[:2] for pair in places.shared_reads([*texts[:2], "", *texts[2:]])] == [(1, 5)]
