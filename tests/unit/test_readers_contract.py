"""What holds for every reader. Each brings a simulated sample: `simulated_sample` in `test_reader_{name}.py`."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotweave import readers
from spotweave.deposits.naming import Roles
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import reading as readings
from spotweave.matrices.reading import SPOT_COLUMNS, Reading, write_csv

LIBRARY = Path(readers.__file__).parents[1]
NAMES = readers.READERS.names()
every_reader = pytest.mark.parametrize("name", NAMES)
REPORTED = {
    "unit",
    "rows_in_counts",
    "rows_in_spots",
    "spots_kept",
    "counts_without_spot",
    "spots_without_counts",
    "duplicate_keys",
    "genes",
    "total_counts",
    "zero_genes",
}


def sample(name: str, folder: Path) -> dict[str, RawFile]:
    return importlib.import_module(f"test_reader_{name}").simulated_sample(folder)


def test_the_registry_lists_readers_and_nothing_else() -> None:
    assert "st_v1" in NAMES


@pytest.mark.parametrize("name", ["count_table", "nosuch", "../st_v1", ""])
def test_an_unknown_reader_is_an_error_that_lists_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no reader, .*st_v1"):
        readers.layout(name)


@every_reader
def test_a_reader_imports_no_other_reader(name: str) -> None:
    trees = [ast.parse((LIBRARY / f"{module}.py").read_text()) for module in readers.modules(name)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    others = tuple(f"spotweave.readers.{other}" for other in NAMES if other != name)
    assert not [one for one in imported if one.startswith(tuple(f"{other}." for other in others)) or one in others]


def test_the_registry_imports_no_reader() -> None:
    tree = ast.parse(Path(readers.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [module for module in imported if module.startswith("spotweave.readers")]


@every_reader
def test_a_reader_has_a_docstring_roles_and_the_common_signature(name: str) -> None:
    reader = readers.READERS.load(name, "read")
    assert reader.__doc__
    assert readers.READERS.load(name, "layout").__doc__
    parameters = inspect.signature(reader.read).parameters
    assert list(parameters) == ["files", "member"]
    assert parameters["member"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["member"].default is None


@every_reader
def test_a_reading_has_the_columns_types_and_order_of_the_format(name: str, tmp_path: Path) -> None:
    reading = readers.READERS.load(name, "read").read(sample(name, tmp_path))
    adata, spots = reading.adata, reading.spots
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert adata.X.has_canonical_format
    assert (adata.X.data > 0).all()
    assert (adata.X.data == np.floor(adata.X.data)).all()
    array = {} if reading.report["unit"] == "cell" else {"array_col": "int64", "array_row": "int64"}
    always = {**array, "x_px": "float64", "y_px": "float64", "in_tissue": "int64"}
    assert adata.obs.dtypes.astype(str).to_dict().items() >= always.items()
    assert ("array_col" in adata.obs) == bool(array)
    assert set(adata.obs["in_tissue"]) <= {0, 1}
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert "gene_id" in adata.var
    assert all(isinstance(gene_id, str) for gene_id in adata.var["gene_id"])
    assert tuple(spots.columns) == SPOT_COLUMNS
    for table in (adata.obs, spots) if array else ():
        places = list(zip(table["array_row"], table["array_col"], strict=True))
        assert places == sorted(places)
    counted = spots[spots["total_counts"].notna()]
    assert counted["spot_id"].tolist() == list(adata.obs_names)
    assert counted["total_counts"].tolist() == adata.X.toarray().sum(axis=1, dtype=np.float64).tolist()
    assert reading.report.keys() >= REPORTED
    assert reading.report["spots_kept"] == adata.n_obs
    assert reading.report["genes"] == adata.n_vars
    json.dumps(reading.report, allow_nan=False)


@every_reader
def test_a_reading_written_twice_is_the_same_bytes_and_reads_back(name: str, tmp_path: Path) -> None:
    files = sample(name, tmp_path)
    for copy in "ab":
        readers.READERS.load(name, "read").read(files).write(tmp_path / f"{copy}.h5ad", tmp_path / f"{copy}.csv")
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    reading = readers.READERS.load(name, "read").read(files)
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert (back.X != reading.adata.X).nnz == 0
    pd.testing.assert_frame_equal(back.obs, reading.adata.obs, check_index_type=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), reading.spots, check_dtype=False)


FLOATS = st.floats() | st.floats(-1e5, 1e5) | st.integers(-(10**6), 10**6).map(float) | st.just(float("nan"))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["1x2", "AAAC-1", 'a"b', "a,b"])


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(WORDS, FLOATS, st.none() | st.integers(-(2**62), 2**62), st.booleans()), max_size=6),
    st.sampled_from([object, pd.StringDtype("pyarrow")]),
    st.booleans(),
)
def test_spots_are_written_with_the_bytes_of_pandas(
    rows: list[tuple[str, float, int | None, bool]], strings: Any, has_bools: bool
) -> None:
    names, floats, counts, bools = zip(*rows, strict=True) if rows else ((), (), (), ())
    frame = pd.DataFrame(
        {
            "spot_id": pd.Series(names, dtype=strings),
            "x_px": np.array(floats, dtype=np.float64),
            "array_x": np.full(len(rows), np.nan),
            "total_counts": pd.array(counts, dtype="Int64"),
            "in_tissue": np.array(bools, dtype=bool if has_bools else np.int64),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "spots.csv"
        write_csv(frame, written)
        assert written.read_bytes() == frame.to_csv(index=False, lineterminator="\n").encode()


def test_a_table_of_many_batches_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "ROWS_AT_ONCE", 7)
    frame = pd.DataFrame({"spot_id": [f"s{i}" for i in range(50)], "x_px": np.arange(50) / 4})
    Reading(anndata.AnnData(np.zeros((1, 1), np.float32)), frame, {}).write(tmp_path / "a", tmp_path / "b.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "b.csv"), frame)


@every_reader
def test_raw_files_are_left_as_they_are(name: str, tmp_path: Path) -> None:
    files = sample(name, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    readers.READERS.load(name, "read").read(files)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@every_reader
def test_an_empty_file_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    reader = readers.READERS.load(name, "read")
    for role in readers.layout(name).roles.read_always:
        folder = tmp_path / role
        folder.mkdir()
        files = sample(name, folder)
        files[role].path.write_bytes(b"")
        with pytest.raises(Refusal) as refusal:
            reader.read(files)
        assert files[role].name in refusal.value.reason


@every_reader
def test_a_member_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="nosuch"):
        readers.READERS.load(name, "read").read(sample(name, tmp_path), member="nosuch")


def test_one_file_of_a_role_is_picked_and_two_are_refused() -> None:
    one, other = ({"role": "counts", "name": name, "path": name} for name in ("a.h5", "b.h5"))
    spots = {"role": "spots", "name": "s.csv", "path": "s.csv"}
    roles = Roles(("counts", "image"), ("spots", "transform"))
    picked = readers.pick_files({"sample": "s", "files": [spots, one]}, roles)
    assert {role: file.name for role, file in picked.items()} == {"counts": "a.h5", "spots": "s.csv"}
    for files in ([], [one, other]):
        with pytest.raises(Refusal, match=f"role 'counts' is needed, {len(files)} given"):
            readers.pick_files({"sample": "s", "files": files}, roles)
    with pytest.raises(Refusal, match="role 'spots' is needed, 2 given"):
        readers.pick_files({"sample": "s", "files": [one, spots, spots]}, roles)
