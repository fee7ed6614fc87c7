"""Encoders that share one reading: each has the rows it has alone, to the byte, whatever becomes of the others."""

import multiprocessing
import os
import threading
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from spotweave.embeddings import batches, sample, together
from spotweave.embeddings.together import Asked, embed_together
from spotweave.networks.spec import EncoderUnavailable
from spotweave.plan.together import companies, made_by
from spotweave.slide.patch_files import PatchReader

COUNT, BATCH = 23, 4
NAMES = ("one", "two", "three")


class Powers:
    """Sums of powers of the pixels; fails, or ends the process without clearing up, at one of its calls."""

    dim = 3

    def __init__(self, power, fails_at=None, dies_at=None):
        self.power, self.fails_at, self.dies_at, self.calls = power, fails_at, dies_at, 0

    def encode(self, images):
        self.calls += 1
        if self.calls == self.dies_at:
            os._exit(9)
        if self.calls == self.fails_at:
            raise RuntimeError("no memory left on the device")
        return ((images / 255.0) ** self.power).mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture
def patches(tmp_path):
    with h5py.File(tmp_path / "patches.h5", "w") as file:
        file["img"] = np.random.default_rng(3).integers(0, 256, (COUNT, 6, 6, 3), dtype=np.uint8)
        names = np.array([f"{row}x1" for row in range(COUNT)], dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    return tmp_path / "patches.h5"


@pytest.fixture
def encoders(monkeypatch):
    """Name -> what is built under it; a dict to put others into, and `built`, what was asked for."""
    found = {name: Powers(power) for power, name in enumerate(NAMES, 1)}
    built = []

    def build(spec, **_):
        built.append(spec.encoder)
        if isinstance(found[spec.encoder], Exception):
            raise found[spec.encoder]
        return found[spec.encoder]

    registry = SimpleNamespace(load=lambda name: SimpleNamespace(build=build))
    monkeypatch.setattr(together, "ENCODERS", registry)
    monkeypatch.setattr(sample, "ENCODERS", registry)
    return SimpleNamespace(of=found, built=built)


def row(name):
    return {"encoder": name, "builder": "powers", "dim": "3", "input_px": "6", "weights": "file", "source": "w.pt"}


def asked(folder):
    return [Asked(row(name), f"code of {name}", folder / f"{name}.h5.resume") for name in NAMES]


def pass_over(patches, most=3, ahead=False):
    options = {"sample": "s", "most": most, "batch": BATCH, "ahead": ahead, "folder": patches.parent}
    return embed_together(asked(patches.parent), patches, **options)


def own_job(patches, name, code=None):
    """The bytes that an encoder's own job writes."""
    path = patches.parent / f"{name}.h5"
    options = {"sample": "s", "encoder": name, "batch": BATCH, "folder": patches.parent}
    options["scratch"] = patches.parent / f"{name}.h5.resume"
    sample.embed_sample(path, patches, row(name), code=code or f"code of {name}", **options)
    return path.read_bytes()


def left_over(patches):
    return sorted(path.name for path in patches.parent.iterdir() if path.is_dir())


@pytest.mark.parametrize(("most", "ahead"), [(3, False), (2, False), (3, True)])
def test_each_file_is_the_one_it_is_alone_and_nothing_is_built_for_it_again(patches, encoders, most, ahead):
    alone = {name: own_job(patches, name) for name in NAMES}
    assert len(set(alone.values())) == 3
    encoders.built.clear()
    assert pass_over(patches, most, ahead) == {"embedded": [*NAMES], "left": {}}
    assert encoders.built == [*NAMES]
    assert {name: own_job(patches, name) for name in NAMES} == alone
    assert encoders.built == [*NAMES]
    assert left_over(patches) == []


def test_the_patches_are_read_once_for_as_many_as_may_be_in_memory(patches, encoders, monkeypatch):
    read = []
    monkeypatch.setattr(PatchReader, "images", counted(PatchReader.images, read))
    pass_over(patches, most=2)
    assert read == [*range(0, COUNT, BATCH)] * 2


def counted(images, read):
    def reading(reader, start, stop):
        read.append(start)
        return images(reader, start, stop)

    return reading


def test_one_that_cannot_be_had_or_fails_is_left_to_its_own_job_and_the_others_go_on(patches, encoders):
    alone = own_job(patches, "three")
    encoders.of["one"] = EncoderUnavailable("one", "gated.", ["ask"])
    encoders.of["two"] = Powers(2, fails_at=3)
    said = pass_over(patches)
    assert said["embedded"] == ["three"]
    assert said["left"]["one"].startswith("encoder one is unavailable: gated.")
    assert said["left"]["two"] == "no memory left on the device"
    with pytest.raises(EncoderUnavailable):
        own_job(patches, "one")
    encoders.of["two"] = Powers(2)
    assert own_job(patches, "three") == alone
    own_job(patches, "two")
    assert encoders.of["two"].calls == 6  # alone, from the first batch on
    assert left_over(patches) == []


def test_numbers_that_are_not_finite_are_refused_in_the_job_of_their_encoder(patches, encoders):
    encoders.of["two"] = Powers(np.nan)
    said = pass_over(patches)
    assert said["embedded"] == ["one", "three"]
    assert "not finite, first for patch 0x1" in said["left"]["two"]


def test_a_pass_that_is_killed_goes_on_from_each_encoders_last_whole_batch(patches, encoders):
    alone = {name: own_job(patches, name) for name in NAMES}
    encoders.of["two"] = Powers(2, dies_at=3)
    process = multiprocessing.get_context("fork").Process(target=pass_over, args=(patches,))
    process.start()
    process.join()
    assert process.exitcode == 9
    encoders.of.update({name: Powers(power) for power, name in enumerate(NAMES, 1)})
    pass_over(patches)
    # Of six batches the first had three, the others two.
    assert [encoders.of[name].calls for name in NAMES] == [3, 4, 4]
    assert {name: own_job(patches, name) for name in NAMES} == alone


def test_rows_of_other_code_other_weights_or_other_patches_are_not_taken(patches, encoders):
    weights = patches.parent / "w.pt"
    weights.write_bytes(b"some")
    pass_over(patches)
    encoders.built.clear()
    own_job(patches, "one", code="other code")
    before = weights.stat().st_mtime_ns
    weights.write_bytes(b"others")
    own_job(patches, "two")
    weights.write_bytes(b"some")
    os.utime(weights, ns=(before, before))
    os.utime(patches, ns=(1, 1))
    own_job(patches, "three")
    assert encoders.built == ["one", "two", "three"]


def test_half_of_the_rows_are_no_rows(patches, encoders):
    """An own job that does not wait may run beside the pass: it takes nothing that is still being written."""
    encoders.of["one"] = Powers(1, fails_at=4)
    pass_over(patches)
    before = {path.name: path.read_bytes() for path in (patches.parent / "one.h5.together").iterdir()}
    encoders.of["one"] = Powers(1)
    key = (patches.parent / "one.h5.together", "other key", 3, patches)
    assert not together.all_there(*key)
    assert before == {path.name: path.read_bytes() for path in (patches.parent / "one.h5.together").iterdir()}
    own_job(patches, "one")
    assert encoders.of["one"].calls == 6


@pytest.mark.parametrize("first", [0, 8, COUNT])
def test_batches_read_ahead_are_those_read_when_asked_for(patches, monkeypatch, first):
    monkeypatch.setattr(batches, "AHEAD_BYTES", 2 * BATCH * 6 * 6 * 3)
    with PatchReader(patches) as read:
        plain, ahead = (list(batches.read_batches(read, first, BATCH, ahead=way)) for way in (False, True))
    assert [rows for rows, _ in ahead] == [rows for rows, _ in plain]
    assert all((one == other).all() for (_, one), (_, other) in zip(ahead, plain, strict=True))


def test_no_more_is_read_ahead_than_may_be_kept_and_nothing_once_nobody_asks(patches, monkeypatch):
    read, before = [], set(threading.enumerate())
    monkeypatch.setattr(PatchReader, "images", counted(PatchReader.images, read))
    monkeypatch.setattr(batches, "AHEAD_BYTES", 2 * BATCH * 6 * 6 * 3)
    with PatchReader(patches) as reader:
        coming = batches.read_batches(reader, 0, BATCH, ahead=True)
        next(coming)
        coming.close()
        assert len(read) <= 3
    assert set(threading.enumerate()) <= before


def test_a_company_is_of_one_environment_and_as_many_gpus():
    rows = {"a": ("torch", 0), "b": ("torch", 1), "c": ("torch", 1), "d": ("own", 1), "e": ("torch", 1)}
    tables = SimpleNamespace(
        environment=lambda name: rows[name][0], encoder_row=lambda name: {"gpu": str(rows[name][1])}
    )
    assert companies(tables, rows, 2) == {"torch.gpu1": ("b", "c", "e")}
    assert companies(tables, ["a", "b", "d"], 4) == companies(tables, rows, 1) == {}


@pytest.mark.parametrize(("text", "code"), [('{"code": "abc"}', "abc"), ("{}", None), ("", None), ("[1]", None)])
def test_what_made_a_file_is_read_from_its_record_or_is_unknown(tmp_path, text, code):
    (tmp_path / "record.json").write_text(text)
    assert made_by(str(tmp_path / "record.json")) == code
    assert made_by(str(tmp_path / "none.json")) is None
