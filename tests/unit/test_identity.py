"""The identity audit finds planted copies, and calls no two real sections one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from PIL import Image
from scipy.sparse import csr_matrix

from spotweave.identity import audit, expression, picture
from spotweave.identity.audit import Finding
from spotweave.raw import RawFile
from spotweave.readers import st_v1, visium

# The real pictures are large; only reduced copies of them are ever looked at.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data"
HER2ST = ("A1", "B4", "C2", "C3", "C4", "C5")
PICTURES = {
    **{name: f"her2st/{name}.jpg" for name in HER2ST[1:]},
    **{f"MOB{n}": f"mob/MOB{n}.jpg" for n in (1, 2, 3)},
    **{f"dlpfc-{n}": f"dlpfc/{n}/tissue_lowres_image.png" for n in (151507, 151669, 151673, 151676)},
    "anterior": "visium_mouse_brain_anterior/spatial/tissue_lowres_image.png",
    "posterior": "visium_mouse_brain_posterior_outs/spatial/tissue_lowres_image.png",
}
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real sections are not here: {SHARED}")


def section(seed: int, spots: int = 400, genes: int = 300) -> AnnData:
    """Counts of a section: genes of many levels, spots of many depths, on a lattice."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(0.5, 1.2, genes)
    depth = rng.lognormal(0, 0.4, spots)
    counts = rng.poisson(depth[:, None] * level[None, :])
    side = int(np.ceil(np.sqrt(spots)))
    places = np.array([(i % side, i // side) for i in range(spots)])
    obs = pd.DataFrame({"array_col": places[:, 0], "array_row": places[:, 1]}, index=[f"s{i}" for i in range(spots)])
    return AnnData(
        csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(genes)])
    )


def prints(**samples: AnnData) -> dict[str, dict[str, Any]]:
    nothing = {"whole": "", "tissue": ""}
    return {name: {"expression": expression.sketch(adata), "picture": nothing} for name, adata in samples.items()}


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
    "half of the spots and a third of the genes": (lambda adata: some_spots(adata)[:, :100].copy(), "certain"),
    "counted again by another pipeline": (counted_again, "hint"),
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
    # The same expectations, drawn anew: as close as two sections of one block can be.
    again = section(0)
    rng = np.random.default_rng(99)
    again.X = csr_matrix(rng.poisson(np.asarray(again.X.toarray())).astype(np.float32))
    assert audit.find(prints(**samples, again=again)) == []


def test_genes_without_information_count_for_nothing() -> None:
    rng = np.random.default_rng(0)
    sparse = csr_matrix((rng.random((200, 500)) < 0.02).astype(np.float32))
    obs = pd.DataFrame({"array_col": range(200), "array_row": 0}, index=[f"s{i}" for i in range(200)])
    adata = AnnData(sparse, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(500)]))
    sketch = expression.sketch(adata)
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


def test_containment_is_the_share_of_the_smaller_set() -> None:
    whole = list(range(0, 1000, 2))
    assert expression.containment(whole, whole[:100], 500, 100) == (1.0, 100)
    assert expression.containment(whole, list(range(1, 200, 2)), 500, 100) == (0.0, 0)
    assert expression.containment([], whole, 0, 500) == (0.0, 0)
    # Sketches of 10 of larger sets: only what lies below both ends is compared.
    assert expression.containment(list(range(10)), list(range(0, 20, 2)), 500, 500) == (1.0, 5)


def test_cells_without_an_array_are_compared_by_their_genes() -> None:
    cells = section(1)
    del cells.obs["array_col"], cells.obs["array_row"]
    assert expression.sketch(cells)["spots"] == []
    (found,) = audit.find(prints(a=cells, b=permuted(cells)))
    assert found.found_by == "genes"


def test_a_fingerprint_is_the_same_bytes_every_time() -> None:
    assert json.dumps(expression.sketch(section(1))) == json.dumps(expression.sketch(section(1)))


def reduced(name: str) -> Image.Image:
    with Image.open(SHARED / PICTURES[name]) as image:
        image.draft("RGB", (1200, 1200))
        rgb = image.convert("RGB")
    rgb.thumbnail((1200, 1200), Image.Resampling.BOX)
    return rgb


def hashes(image: Image.Image, folder: Path, quality: int = 90) -> dict[str, str]:
    image.save(folder / "copy.jpg", quality=quality)
    return picture.picture_hashes(folder / "copy.jpg")


def distance(a: dict[str, str], b: dict[str, str]) -> dict[str, float]:
    return {kind: float(picture.distances([a[kind], b[kind]])[0, 1]) for kind in audit.PICTURE_SAME}


def is_same(a: dict[str, str], b: dict[str, str]) -> bool:
    found = distance(a, b)
    return any(found[kind] < limit for kind, limit in audit.PICTURE_SAME.items())


TURNS = {
    "as it is": None,
    "turned by 90 degrees": Image.Transpose.ROTATE_90,
    "turned by 180 degrees": Image.Transpose.ROTATE_180,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "turned and mirrored": Image.Transpose.TRANSVERSE,
}


@real
@pytest.mark.parametrize("name", PICTURES)
def test_a_changed_copy_of_a_real_picture_is_found(name: str, tmp_path: Path) -> None:
    original = reduced(name)
    known = hashes(original, tmp_path)
    for share in (1.0, 0.5, 0.25):
        small = original.resize((int(original.width * share), int(original.height * share)))
        for what, turn in TURNS.items():
            copy = small if turn is None else small.transpose(turn)
            assert is_same(known, hashes(copy, tmp_path, quality=60)), f"{name}, {share:.0%}, {what}"
    cropped = original.crop((original.width // 33, original.height // 33, original.width, original.height))
    assert is_same(known, hashes(cropped, tmp_path)), f"{name}, cropped"


@real
def test_no_two_real_pictures_are_called_one(tmp_path: Path) -> None:
    known = {name: hashes(reduced(name), tmp_path) for name in PICTURES}
    for kind, limit in audit.PICTURE_SAME.items():
        found = picture.distances([known[name][kind] for name in PICTURES])
        others = found[np.triu_indices(len(found), k=1)]
        assert np.nanmin(others) > limit * 1.3, kind


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
    shares = [
        expression.containment(a["spots"], b["spots"], a["entries"], b["entries"])[0]
        for i, a in enumerate(sketches)
        for b in sketches[i + 1 :]
    ]
    assert max(shares) < 0.05 < audit.SPOTS_HINT / 5
    found = audit.find({**known, **prints(copy=some_spots(samples["C3"]), panel=some_genes(samples["B4"]))})
    assert {(one.sample_a, one.sample_b) for one in found} == {("C3", "copy"), ("B4", "panel")}


def test_an_empty_glass_has_no_tissue_to_compare(tmp_path: Path) -> None:
    blank = hashes(Image.new("RGB", (300, 300), (240, 240, 240)), tmp_path)
    assert blank["tissue"] == ""
    assert np.isnan(picture.distances(["", "00" * 32])[0, 1])


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
    (tmp_path / "c/e.h5ad").touch()
    run(
        "fingerprint_sample",
        *("--expression", "c/e.h5ad", "--thumbnail", "thumbnail.jpg"),
        *("--fingerprint", "c/fingerprint.json", "--record", "c/record.json"),
    )
    assert (tmp_path / "c/fingerprint.json").read_bytes() == b""
    run(
        "audit_identity",
        *("--samples", "a", "b", "c", "--donors", "A", "B", "C", "--fingerprints", "{sample}/fingerprint.json"),
        *("--known", "[]", "--table", "identity.csv"),
    )
    table = pd.read_csv(tmp_path / "identity.csv")
    assert set(zip(table["sample_a"], table["sample_b"], table["leaks"], strict=True)) == {("a", "b", "yes")}
