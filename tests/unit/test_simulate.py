"""The simulated deposit: pictures and counts agree with the truth written beside them, and it is served as promised."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage, stats
from scipy.spatial.distance import cdist
from skimage.color import rgb2hed
from skimage.transform import SimilarityTransform

from real_data import DATA, NOT_HERE
from spotweave.simulate import deposit, expression, st_v1, tissue

ROOT = Path(__file__).resolve().parents[2]
HER2ST = DATA / "her2st"
TINY = {"demo-a1": {"seed": 1, "donor": 0, "columns": 3, "rows": 3}}


@pytest.fixture(scope="module")
def section() -> st_v1.Section:
    return st_v1.simulate_section(3, 1, columns=7, rows=6)


@pytest.fixture(scope="module")
def written(section, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("section")
    st_v1.write_section(section, folder, "s")
    return folder


@pytest.fixture(scope="module")
def truth(written):
    with np.load(written / "truth/s.npz", allow_pickle=False) as arrays:
        return {**json.loads((written / "truth/s.json").read_text()), **dict(arrays)}


@pytest.fixture(scope="module")
def spots(written) -> pd.DataFrame:
    table = pd.read_csv(written / "s_selection.tsv", sep="\t")
    return table.set_index(table.x.astype(str) + "x" + table.y.astype(str))


@pytest.fixture(scope="module")
def counts(written) -> pd.DataFrame:
    return pd.read_csv(written / "s.tsv.gz", sep="\t", index_col=0)


@pytest.fixture(scope="module")
def picture(written):
    return np.asarray(Image.open(written / "s.jpg"))


@pytest.fixture(scope="module")
def haematoxylin(picture):
    """Ruifrok's colour deconvolution, in scikit-image: knows nothing of the simulator's stains."""
    return rgb2hed(picture)[..., 0]


@pytest.fixture(scope="module")
def small_deposit(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deposit") / "demo"
    assert deposit.build(folder, TINY)
    return folder


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def at_nuclei(image, centres_px, dx=0.0, dy=0.0):
    """Image values at points given from the corner of the first pixel (whose centre is 0.5, 0.5)."""
    return ndimage.map_coordinates(image, [centres_px[:, 1] + dy - 0.5, centres_px[:, 0] + dx - 0.5], order=1)


# Array and spots


def test_spots_lie_where_the_truth_matrix_puts_them(spots, truth):
    array_um = np.c_[spots[["x", "y"]].to_numpy() * 200.0, np.ones(len(spots))]
    expected_px = array_um @ np.array(truth["matrix"]).T
    residual_um = (spots[["pixel_x", "pixel_y"]].to_numpy() - expected_px[:, :2]) * truth["pixel_size_um"]
    assert np.abs(residual_um).max() < 4.5 * truth["print_error_um"]
    assert residual_um.std() == pytest.approx(truth["print_error_um"], rel=0.3)


def test_a_similarity_fit_to_the_spot_file_finds_pixel_size_and_rotation(spots, truth):
    fit = SimilarityTransform.from_estimate(
        spots[["x", "y"]].to_numpy() * 200.0, spots[["pixel_x", "pixel_y"]].to_numpy()
    )
    assert 1 / fit.scale == pytest.approx(truth["pixel_size_um"], rel=0.005)
    assert np.rad2deg(fit.rotation) == pytest.approx(truth["rotation_deg"], abs=0.3)


def test_measured_array_coordinates_follow_the_vendors_convention(spots, truth):
    pitch_px = 200 / truth["pixel_size_um"]
    assert np.abs((spots.new_x - 1) * pitch_px - spots.pixel_x).max() < 0.2
    assert np.abs((spots.new_y - 1) * pitch_px - spots.pixel_y).max() < 0.2


def test_every_spot_lies_in_the_picture_which_has_the_true_size(spots, truth, picture):
    assert picture.shape == (truth["image_height_px"], truth["image_width_px"], 3)
    assert spots.pixel_x.between(0, picture.shape[1]).all()
    assert spots.pixel_y.between(0, picture.shape[0]).all()
    assert picture.shape[1] * truth["pixel_size_um"] == pytest.approx(8 * 200, abs=1)


def test_donors_have_pixel_sizes_of_their_own_in_the_range_of_real_slides():
    sizes = sorted(st_v1._donor(np.random.default_rng(0), donor).pixel_size_um for donor in range(3))
    assert sizes[0] >= 0.66 and sizes[-1] <= 0.72
    assert min(np.diff(sizes)) > 0.005


@pytest.mark.skipif(not HER2ST.is_dir(), reason=f"{NOT_HERE}{HER2ST}")
def test_files_are_laid_out_as_the_real_deposit(written):
    def first_lines(path: Path) -> list[str]:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as handle:
            return [handle.readline().rstrip("\n") for _ in range(2)]

    assert first_lines(written / "s_selection.tsv")[0] == first_lines(HER2ST / "C2_selection.tsv")[0]
    for path in (written / "s.tsv.gz", HER2ST / "C2.tsv.gz"):
        header, row = first_lines(path)
        assert header.startswith("\t")
        assert header.count("\t") == row.count("\t")
        assert [part.isdigit() for part in row.split("\t")[0].split("x")] == [True, True]
    for table in ("s_selection.tsv", "s.tsv.gz"):
        raw = (written / table).read_bytes()
        text = gzip.decompress(raw) if table.endswith("gz") else raw
        assert text.endswith(b"\n") and b"\r" not in text


# The traps of real deposits


def test_the_resolution_tag_of_the_picture_is_wrong(written, truth):
    dots_per_inch = Image.open(written / "s.jpg").info["dpi"][0]
    assert dots_per_inch == pytest.approx(96)
    assert 25400 / dots_per_inch > 300 * truth["pixel_size_um"]


def test_one_selected_spot_has_no_counts_and_one_row_of_counts_has_no_spot(spots, counts, truth):
    selected = spots.index[spots.selected == 1]
    assert set(selected) - set(counts.index) == {truth["spot_without_counts"]}
    assert set(counts.index) - set(spots.index) == {truth["counts_without_spot"]}


def test_the_count_file_holds_only_spots_with_counts(counts):
    assert (counts.sum(axis=1) > 0).all()
    assert counts.index.is_unique


# The picture


@pytest.mark.parametrize("domain", ["tumour", "stroma", "immune", "fat"])
def test_nuclei_are_bluer_where_the_truth_says(haematoxylin, truth, domain):
    chosen = truth["nuclei_xy_px"][truth["nuclei_domain"] == tissue.DOMAINS.index(domain)]
    assert len(chosen) > 20
    ring = [at_nuclei(haematoxylin, chosen, 11 * np.cos(a), 11 * np.sin(a)) for a in np.linspace(0, 6.283, 12)]
    centre = at_nuclei(haematoxylin, chosen)
    assert np.mean(centre > np.median(ring, axis=0)) > 0.8
    assert stats.wilcoxon(centre, np.median(ring, axis=0), alternative="greater").pvalue < 1e-6


def test_nuclei_are_drawn_without_an_offset(picture, truth):
    stroma = truth["nuclei_xy_px"][truth["nuclei_domain"] == tissue.STROMA]
    darkness = 255 - picture.astype(float).mean(axis=2)
    steps = np.arange(-8, 9)
    across = np.array([at_nuclei(darkness, stroma, dx=step).mean() for step in steps])
    down = np.array([at_nuclei(darkness, stroma, dy=step).mean() for step in steps])
    for profile in (across, down):
        weight = profile - profile.min()
        assert abs(np.average(steps, weights=weight**2)) < 0.25


def test_tissue_is_coloured_and_glass_is_not(picture, truth):
    colour = np.ptp(picture, axis=2).astype(np.float32)
    pixel_size_um, grid_um = truth["pixel_size_um"], truth["grid_um"]
    rows, columns = np.indices(truth["domain"].shape)
    centres_px = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1) * grid_um / pixel_size_um
    inside = (centres_px < np.array(picture.shape[1::-1]) - 3).all(axis=1)
    values = at_nuclei(ndimage.uniform_filter(colour, 9), centres_px[inside])
    domain = truth["domain"].ravel()[inside]
    cells = np.isin(domain, (tissue.TUMOUR, tissue.STROMA, tissue.IMMUNE))
    glass = domain == tissue.BACKGROUND
    area_under_roc = stats.mannwhitneyu(values[cells], values[glass]).statistic / (cells.sum() * glass.sum())
    assert area_under_roc > 0.95
    assert (truth["tissue"] == (truth["domain"] > 0)).all()


def test_stain_strength_differs_between_donors():
    darkness = []
    for donor in (0, 1):
        made = st_v1.simulate_section(3, donor, columns=3, rows=3)
        tumour = made.tissue.nuclei.domain == tissue.TUMOUR
        x, y = made.tissue.nuclei.x_um[tumour], made.tissue.nuclei.y_um[tumour]
        darkness.append(at_nuclei(made.image[..., 0], np.stack([x, y], axis=1) / made.pixel_size_um))
    assert stats.mannwhitneyu(*darkness).pvalue < 1e-6


# The counts


@pytest.fixture(scope="module")
def under_spots(truth) -> pd.DataFrame:
    """Domain shares and nuclei under each 100 um spot, measured from the truth's map on pixels of one um."""
    size_um = truth["pixel_size_um"]
    domain = np.kron(truth["domain"], np.ones((4, 4), dtype=np.uint8))
    shares = []
    for x_um, y_um in truth["spots_xy_px"] * size_um:
        top, left = int(y_um) - 52, int(x_um) - 52
        rows, columns = np.ogrid[top : top + 105, left : left + 105]
        disc = domain[top : top + 105, left : left + 105][np.hypot(columns + 0.5 - x_um, rows + 0.5 - y_um) < 50]
        shares.append([(disc == code).mean() for code in range(5)])
    table = pd.DataFrame(shares, columns=tissue.DOMAINS, index=truth["spot_ids"])
    table["nuclei"] = (cdist(truth["spots_xy_px"], truth["nuclei_xy_px"]) * size_um < 50).sum(axis=1)
    return table


def test_what_lies_under_each_spot_is_measured_rightly(truth, under_spots):
    assert np.abs(under_spots[list(tissue.DOMAINS)].to_numpy() - truth["fractions"]).max() < 0.02
    assert (under_spots["nuclei"].to_numpy() == truth["nuclei_per_spot"]).all()


@pytest.mark.parametrize("cause", ["tumour", "stroma", "immune", "fat", "nuclei"])
def test_genes_of_a_cause_follow_it(counts, under_spots, cause):
    under = under_spots.loc[counts.index]
    letter = expression.GROUPS[cause].letter
    genes = counts[[gene for gene in counts.columns if gene.startswith(f"SIM{letter}")]].sum(axis=1)
    assert stats.pearsonr(genes, under[cause]).statistic > 0.75
    if cause in ("tumour", "stroma"):
        other = "stroma" if cause == "tumour" else "tumour"
        in_tissue = under["background"] < 0.2
        assert stats.spearmanr(genes[in_tissue], under[other][in_tissue]).statistic < 0


def test_counts_scatter_about_the_expected_as_a_negative_binomial(section):
    size = expression.panel().dispersion
    often = section.expected > 2
    mean, error = section.expected[often], (section.counts - section.expected)[often]
    squares = error**2 / (mean + mean**2 / np.broadcast_to(size, often.shape)[often])
    assert squares.mean() == pytest.approx(1, abs=0.15)
    assert (error**2 / mean).mean() > 1.5  # wider than Poisson


def test_library_sizes_are_as_on_real_arrays_and_glass_has_next_to_nothing(section):
    covered = section.fractions[:, 1:].sum(axis=1)
    totals = section.counts.sum(axis=1)
    assert 1000 < np.median(totals[covered > 0.9]) < 4000
    assert np.median(totals[covered == 0]) < 15


def test_some_genes_are_never_and_some_only_by_chance_expressed(section):
    panel = expression.panel()
    assert section.counts[:, panel.of("never")].sum() == 0
    rare = section.expected[:, panel.of("rare")]
    assert rare.max() < 0.1 and np.ptp(rare) == 0


# Determinism


def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        made = st_v1.simulate_section(seed, 0, columns=3, rows=3)
        st_v1.write_section(made, tmp_path / name, "s")
    first, again, other = (all_bytes(tmp_path / name) for name in ("first", "again", "other"))
    assert set(first) == {"s.tsv.gz", "s_selection.tsv", "s.jpg", "truth/s.json", "truth/s.npz"}
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_the_gzip_header_holds_no_time_and_no_name(written):
    header = (written / "s.tsv.gz").read_bytes()[:10]
    assert header[:2] == b"\x1f\x8b"
    assert header[3] == 0
    assert header[4:8] == b"\0\0\0\0"


# The deposit


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_a_built_deposit_is_found_and_not_built_again(small_deposit):
    before = {path: path.stat().st_mtime_ns for path in small_deposit.rglob("*")}
    assert not deposit.build(small_deposit, TINY)
    assert {path: path.stat().st_mtime_ns for path in small_deposit.rglob("*")} == before


def test_a_deposit_is_rebuilt_when_a_file_is_missing_or_a_parameter_differs(tmp_path):
    folder = tmp_path / "demo"
    deposit.build(folder, TINY)
    whole = all_bytes(folder)
    (folder / "files/demo-a1.jpg").unlink()
    assert deposit.build(folder, TINY)
    assert all_bytes(folder) == whole
    assert deposit.build(folder, {"demo-a1": {**TINY["demo-a1"], "seed": 2}})
    assert all_bytes(folder) != whole
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_build_that_fails_leaves_the_old_deposit(tmp_path):
    folder = tmp_path / "demo"
    deposit.build(folder, TINY)
    whole = all_bytes(folder)
    with pytest.raises(TypeError):
        deposit.build(folder, {"demo-a1": {"no_such_argument": 1}})
    assert all_bytes(folder) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_folder_that_is_no_deposit_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a demo deposit"):
        deposit.build(tmp_path, TINY)
    assert all_bytes(tmp_path) == {"precious.txt": b"mine"}


def test_the_deposit_serves_whole_files_and_ranges(small_deposit):
    with deposit.serve(small_deposit) as url:
        for path in (small_deposit / "files").iterdir():
            content = path.read_bytes()
            assert fetch(url + path.name) == (200, content)
            assert fetch(url + path.name, Range="bytes=100-") == (206, content[100:])
            assert fetch(url + path.name, Range="bytes=5-14") == (206, content[5:15])
            assert fetch(url + path.name, Range=f"bytes={len(content)}-")[0] == 416


def test_the_truth_is_not_served(small_deposit):
    assert (small_deposit / "truth/demo-a1.npz").is_file()
    with deposit.serve(small_deposit) as url:
        for path in ("truth/demo-a1.json", "../truth/demo-a1.json", "%2e%2e/truth/demo-a1.json", "../deposit.json"):
            assert fetch(url + path)[0] == 404
            assert fetch(url + path, Range="bytes=0-9")[0] == 404


# The script

SERVE = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import serve_demo
from spotweave.simulate import deposit
deposit.SECTIONS, deposit.VISIUM, deposit.XENIUM, deposit.VISIUM_HD = {TINY!r}, {{}}, {{}}, {{}}
code = serve_demo.main(sys.argv[1:])
print("numpy" in sys.modules, file=sys.stderr)
sys.exit(code)
"""
CLIENT = """
import os, sys, urllib.request
before, demo, *others = os.environ["SPOTWEAVE_MIRRORS"].split()
public, local = demo.split("=", 1)
assert [one.split("=")[0] for one in others] == [
    "https://ftp.ncbi.nlm.nih.gov/",
    "https://www.ncbi.nlm.nih.gov/",
    "https://cf.10xgenomics.com/samples/",
    "https://s3-us-west-2.amazonaws.com/10x.files/samples/",
], others
assert public == "https://deposit.invalid/demo/" and local.startswith("http://127.0.0.1:"), demo
print([before], urllib.request.urlopen(local + "demo-a1_selection.tsv").read(3))
sys.exit(7)
"""


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process with its output at hand, which does not outlive a test that fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def serve_command(folder: Path, *command: str) -> list[str]:
    return [sys.executable, "-c", SERVE, "--folder", str(folder), "--", *command]


def test_the_command_finds_the_deposit_and_its_exit_code_is_passed_on(small_deposit):
    environment = {**os.environ, "SPOTWEAVE_MIRRORS": "https://a.org/=https://b.org/"}
    done = subprocess.run(
        serve_command(small_deposit, sys.executable, "-c", CLIENT),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "['https://a.org/=https://b.org/'] b'x\\ty'"
    assert done.returncode == 7
    assert "SIMULATED" in done.stderr
    assert done.stderr.split()[-1] == "False", "numpy was imported although the deposit was built"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on_to_the_command(small_deposit, number):
    client = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    command = serve_command(small_deposit, sys.executable, "-c", client)
    with running(command, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 9


def test_a_command_that_is_killed_is_reported_as_a_shell_would(small_deposit):
    killed = serve_command(small_deposit, "sh", "-c", "kill -KILL $$")
    assert subprocess.run(killed, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == 128 + 9
    missing = serve_command(small_deposit, "no-such-command-here")
    assert subprocess.run(missing, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == 127


def test_without_a_command_it_prints_the_export_line_and_serves_until_told_to_end(small_deposit):
    environment = {name: value for name, value in os.environ.items() if name != "SPOTWEAVE_MIRRORS"}
    with running(serve_command(small_deposit), env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        mirror = line.removeprefix("export SPOTWEAVE_MIRRORS='").removesuffix("'").split()[0]
        public, local = mirror.split("=", 1)
        assert public == "https://deposit.invalid/demo/"
        assert fetch(local + "demo-a1.tsv.gz") == (200, (small_deposit / "files/demo-a1.tsv.gz").read_bytes())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
