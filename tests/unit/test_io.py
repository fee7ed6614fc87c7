"""Files appear whole or not at all, and JSON is the same bytes every time."""

import hashlib

import pytest

from spotweave import io


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    io.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), io.atomic(path) as part:
        part.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_does_not_depend_on_the_order_of_keys(tmp_path):
    io.write_json(tmp_path / "a.json", {"b": 1, "a": [1, 2]})
    io.write_json(tmp_path / "b.json", {"a": [1, 2], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        io.write_json(tmp_path / "a.json", {"a": float("nan")})


def test_hash_is_that_of_hashlib_across_chunks(tmp_path):
    content = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(content)
    assert io.file_hash(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert io.file_hash(tmp_path / "a", "md5") == hashlib.md5(content).hexdigest()
