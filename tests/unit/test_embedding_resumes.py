"""An embedding job that is killed half way: the next one goes on, and writes the same bytes."""

import multiprocessing
import os

import h5py
import numpy as np
import pytest

from spotweave.embeddings.sample import write_embeddings
from spotweave.resumed import ResumedRows, key_of

COUNT, BATCH = 23, 4


class Means:
    """Three numbers a patch; ends the process, without any clearing up, at one of its calls."""

    dim = 3

    def __init__(self, scale=1.0, dies_at=None):
        self.scale, self.dies_at, self.calls = scale, dies_at, 0

    def encode(self, images):
        self.calls += 1
        if self.calls == self.dies_at:
            os._exit(9)
        return (self.scale * images.mean(axis=(1, 2))).astype(np.float32)


@pytest.fixture
def patches(tmp_path):
    images = np.random.default_rng(3).integers(0, 256, (COUNT, 6, 6, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "patches.h5", "w") as file:
        file["img"] = images
        names = np.array([f"{row}x1" for row in range(COUNT)], dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    return tmp_path / "patches.h5"


def embed(patches, name, scratch, made_by="net", **encoders):
    path = patches.parent / name
    named = encoders or {"embeddings": Means()}
    write_embeddings(path, patches, named, sample="s", encoder="e", batch=BATCH, scratch=scratch, made_by=made_by)
    return path.read_bytes()


def die(patches, scratch, at, made_by="net"):
    """A job in a process of its own that ends at its `at`-th batch."""
    arguments = (patches, "half.h5", scratch, made_by)
    process = multiprocessing.get_context("fork").Process(
        target=embed, args=arguments, kwargs={"embeddings": Means(dies_at=at)}
    )
    process.start()
    process.join()
    assert process.exitcode == 9


def test_what_was_embedded_is_kept_and_the_file_is_the_same_to_the_byte(patches, tmp_path):
    whole = embed(patches, "whole.h5", None)
    scratch = tmp_path / "scratch"
    die(patches, scratch, 3)
    assert not (tmp_path / "half.h5").exists()
    again = Means()
    assert embed(patches, "again.h5", scratch, embeddings=again) == whole
    assert again.calls == 6 - 2  # of six batches two were done
    assert not scratch.exists()


def test_rows_of_other_weights_or_other_patches_are_computed_again(patches, tmp_path):
    scratch = tmp_path / "scratch"
    die(patches, scratch, 5)
    other = Means(scale=2.0)
    assert embed(patches, "a.h5", scratch, "other net", embeddings=other) == embed(
        patches, "b.h5", None, embeddings=Means(scale=2.0)
    )
    assert other.calls == 6
    die(patches, scratch, 5)
    with h5py.File(patches, "r+") as file:
        file["img"][0] = 0
    os.utime(patches, ns=(1, 1))  # as another build leaves it
    changed = Means()
    assert embed(patches, "c.h5", scratch, embeddings=changed) == embed(patches, "d.h5", None)
    assert changed.calls == 6


def test_a_batch_that_was_cut_short_on_the_disk_counts_for_nothing(patches, tmp_path):
    scratch = tmp_path / "scratch"
    die(patches, scratch, 4)
    with open(scratch / "0.f32", "ab") as file:
        file.write(b"half a row")
    assert embed(patches, "a.h5", scratch) == embed(patches, "b.h5", None)
    die(patches, scratch, 4)
    os.truncate(scratch / "0.f32", 7)  # fewer than were counted: a disk that lost them
    lost = Means()
    assert embed(patches, "c.h5", scratch, embeddings=lost) == embed(patches, "d.h5", None)
    assert lost.calls == 6


def test_tables_of_several_encoders_grow_together(tmp_path):
    with ResumedRows(tmp_path / "rows", key_of("k"), {"a": 2, "b": 1}) as kept:
        kept.append({"a": np.ones((3, 2), np.float32), "b": np.zeros((3, 1), np.float32)})
        with pytest.raises(ValueError, match="as many are due"):
            kept.append({"a": np.ones((3, 2), np.float32), "b": np.zeros((2, 1), np.float32)})
        with pytest.raises(ValueError, match="b: rows of"):
            kept.append({"a": np.ones((1, 2), np.float32), "b": np.zeros((1, 4), np.float32)})
    with ResumedRows(tmp_path / "rows", key_of("k"), {"a": 2, "b": 1}) as kept:
        assert kept.done == 3
        assert kept.rows("a", 1, 3).tolist() == [[1, 1], [1, 1]]
    with ResumedRows(tmp_path / "rows", key_of("k"), {"a": 2, "b": 2}) as kept:
        assert kept.done == 0
