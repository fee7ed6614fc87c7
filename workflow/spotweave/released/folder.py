"""A task of the released folder: what its csv and JSON files say, and none of it believed."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from spotweave.deposits.opening import read_bytes, read_json
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.io import file_hash
from spotweave.released import GENES_FILE, SPLIT_COLUMNS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
TRAINING = re.compile(r"train_(0|[1-9][0-9]{0,3})\.csv")


class NotThere(Refusal):
    """Something has to be downloaded, or downloaded again as files: nobody needs to look into the others to know."""


@dataclass(frozen=True)
class ReleasedSample:
    """Where a sample of a task lies."""

    patches: RawFile
    expression: RawFile

    def hashes(self) -> tuple[str, str]:
        """SHA-256 of both."""
        return file_hash(self.patches.path), file_hash(self.expression.path)


@dataclass(frozen=True)
class ReleasedTask:
    """A task as its folder has it.

    Attributes
    ----------
    genes
        Genes to predict, in the order of their file.
    samples
        Sample id -> its files, all within the task's folder.
    folds
        As in `splits.json`. Samples keep the order of the csv: the published regression stops before it has
        converged, so their order is part of the score. The folder names no donors, but it holds out whole patients:
        samples that are tested together count as one donor, the number of their fold.
    """

    name: str
    genes: list[str]
    samples: dict[str, ReleasedSample]
    folds: list[dict[str, Any]]
    splits_hash: str

    def splits(self, task: str | None = None) -> dict[str, Any]:
        """The same as `splits.json` has it, under another name of the task if one is given."""
        return {
            "task": task or self.name,
            "donors": donors_of(self.folds, self.samples),
            "folds": self.folds,
            "left_out": [],
            "reason": None,
        }

    def data_hash(self) -> str:
        """SHA-256 of all that its scores are made of: splits, genes, counts and patches, by content."""
        return joined_hash(self.splits_hash, {name: sample.hashes() for name, sample in self.samples.items()})

    def texts(self, root: Path) -> list[Path]:
        """Its list of genes and its csv files."""
        sides = [f"splits/{side}_{fold['fold']}.csv" for fold in self.folds for side in ("train", "test")]
        return [root / self.name / name for name in (GENES_FILE, *sides)]


def joined_hash(splits_hash: str, samples: Mapping[str, Sequence[str]]) -> str:
    """One hash of a task's splits and, by sample, of its files."""
    digest = hashlib.sha256(splits_hash.encode())
    for name, hashes in sorted(samples.items()):
        digest.update(f"{name} {' '.join(hashes)}\n".encode())
    return digest.hexdigest()


def donors_of(folds: Iterable[Mapping[str, Any]], samples: Iterable[str]) -> dict[str, str]:
    """Sample -> `fold0`, the first fold that tests it; its own name, of one that none does."""
    found = {name: name for name in sorted(samples)}
    for fold in reversed(list(folds)):
        found |= dict.fromkeys(fold["test"], f"fold{fold['fold']}")
    return found


def task_names(root: Path) -> list[str]:
    """The folders of a root that have splits, sorted.

    Raises
    ------
    Refusal
        If there is none.
    """
    found = sorted(path.parent.name for path in root.glob("*/splits") if path.is_dir())
    if not found:
        raise NotThere(
            f"{root}: no folder in it has a folder `splits`; name the folder that holds IDC, PRAD and others"
        )
    return found


def read_task(root: Path, name: str) -> ReleasedTask:
    """Read splits and genes of a task; that its pictures and counts are there is looked at, not what they hold.

    Raises
    ------
    Refusal
        With the file and the row, where something contradicts itself or leads out of the task's folder; `NotThere`
        where it is missing, or a link.
    """
    folder = root / name
    if not NAME.fullmatch(name) or not folder.is_dir() or folder.is_symlink():
        raise NotThere(f"{root}: no folder {name!r} in it; download that task as files, not as links")
    genes_file = _within(folder, GENES_FILE, name)
    genes = _genes(RawFile(f"{name}/{GENES_FILE}", genes_file))
    samples: dict[str, ReleasedSample] = {}
    folds: list[dict[str, Any]] = []
    read = [genes_file]
    for number in range(_fold_count(folder, name)):
        sides = {}
        for side in ("train", "test"):
            file = _within(folder, f"splits/{side}_{number}.csv", name)
            read.append(file)
            sides[side] = _side(folder, RawFile(f"{name}/splits/{file.name}", file), samples)
        both = sorted(set(sides["train"]) & set(sides["test"]))
        if both:
            raise Refusal(f"{name}/splits: {both[0]} is in train_{number}.csv and in test_{number}.csv; keep it in one")
        folds.append({"fold": number, **sides})
    donors = donors_of(folds, samples)
    folds = [{**fold, "test_donors": sorted({donors[sample] for sample in fold["test"]})} for fold in folds]
    content = "".join(file_hash(file) for file in read)
    return ReleasedTask(name, genes, samples, folds, hashlib.sha256(content.encode()).hexdigest())


def _fold_count(folder: Path, name: str) -> int:
    splits = folder / "splits"
    if splits.is_symlink() or not splits.is_dir():
        raise NotThere(f"{name}: no folder `splits` in it; download the task again, as files, not as links")
    numbers = sorted(int(found[1]) for path in splits.iterdir() if (found := TRAINING.fullmatch(path.name)))
    if not numbers or numbers != list(range(len(numbers))):
        listed = ", ".join(map(str, numbers)) or "none"
        raise NotThere(f"{name}/splits: train_0.csv, train_1.csv and so on are expected, there are {listed}")
    return len(numbers)


def _within(folder: Path, said: str, where: str) -> Path:
    """A file of a folder by the path that somebody wrote."""
    written = PurePosixPath(said)
    if not said or said != said.strip() or "\\" in said or not said.isprintable():
        raise Refusal(f"{where}: {said[:100]!r} is no path of a file")
    if written.is_absolute() or ".." in written.parts:
        raise Refusal(f"{where}: {said[:100]!r} leads out of the task's folder; write it from there, without `..`")
    path = folder
    for part in written.parts:
        path = path / part
        if path.is_symlink():
            raise NotThere(f"{where}: {said[:100]!r} is a link, or lies behind one; download it as a file")
    if not path.is_file():
        raise NotThere(f"{where}: there is no file {said[:100]!r}; download the task again")
    return path


def _genes(raw: RawFile) -> list[str]:
    content = read_json(raw)
    genes = content.get("genes") if isinstance(content, dict) else None
    if not isinstance(genes, list) or not genes or not all(isinstance(gene, str) and gene for gene in genes):
        raise Refusal(f'{raw.name}: it should hold {{"genes": [names]}}; download the task again')
    _once(genes, f"{raw.name}: gene")
    return genes


def _side(folder: Path, raw: RawFile, samples: dict[str, ReleasedSample]) -> list[str]:
    """Sample ids of one csv, in its order; their files are added to `samples`."""
    try:
        lines = read_bytes(raw).decode("utf-8-sig").splitlines()
        rows = list(csv.DictReader(lines, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"{raw.name}: not a csv ({error}); download the task again") from error
    if not rows or not set(SPLIT_COLUMNS) <= set(rows[0]):
        raise Refusal(f"{raw.name}: rows with {', '.join(SPLIT_COLUMNS)} are expected; download the task again")
    names = []
    for number, row in enumerate(rows, start=2):
        where = f"{raw.name}, row {number}"
        name, patches, expression = (row[column] or "" for column in SPLIT_COLUMNS)
        if not NAME.fullmatch(name):
            raise Refusal(f"{where}: {name[:100]!r} is no sample id: letters, digits, `_`, `-` and `.` are")
        found = ReleasedSample(
            *(RawFile(f"{folder.name}/{said}", _within(folder, said, where)) for said in (patches, expression))
        )
        if samples.setdefault(name, found) != found:
            raise Refusal(f"{where}: {name} has other files here than in another csv; give it one pair")
        names.append(name)
    _once(names, f"{raw.name}: sample")
    return names


def _once(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Refusal(f"{what} {name} is there twice; keep it once")
        seen.add(name)
