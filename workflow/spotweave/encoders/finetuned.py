"""Encoders that a recipe trained, one file a fold (`spotweave.networks.tower`); no row of the table names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.networks.spec import EncoderSpec, EncoderUnavailable

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """A row of the encoder table cannot ask for it."""
    return [("builder", "'finetuned' is for recipes, allowed: a builder of another name")]


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Patches of any size: they are shrunk to the recipe's."""
    return None


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> TorchEncoder:
    """Build the encoder of one fold from its file, `spec.source`.

    Parameters
    ----------
    spec
        Only `source` and the name are used; all else, the dimension too, is in the file.
    folder
        Where a relative `source` lies.
    seed
        Of no effect: every weight is in the file.

    Raises
    ------
    EncoderUnavailable
        If the file is not there.
    ValueError
        If it is no file of ours.
    """
    path = (folder or Path()) / spec.source
    if not spec.source or not path.is_file():
        raise EncoderUnavailable(spec.encoder, f"no file {path}.", ["run finetune_encoder for this recipe and fold"])
    from spotweave.networks.tower import read_tower

    return read_tower(path, device)


def fold_files(paths: Sequence[Path]) -> list[tuple[int, Path]]:
    """(fold, file) of the files that hold weights, by fold: `spotweave.networks.tower.fold_files`."""
    from spotweave.networks import tower

    return tower.fold_files(paths)
