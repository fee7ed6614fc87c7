"""What a method that predicts expression is given: spots to learn from, and spots to be predicted.

What it learns from and what it is asked for differ in their types: a `Sample` knows no expression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CannotPredict(Exception):
    """A method cannot be run on a fold; the message says why and stands in the leaderboard."""


@dataclass(frozen=True)
class Pictures:
    """Where the patches of a sample lie: in their file or, where it holds none, on the slide."""

    patches: Path
    slide: Path | None = None


@dataclass(frozen=True)
class Vectors:
    """What a frozen encoder says of the patches of a sample.

    Attributes
    ----------
    encoder
        Its name.
    rows
        Barcode -> row of `features`.
    features
        (M, D) float32, finite.
    """

    encoder: str
    rows: Mapping[str, int]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """Spots of one sample that are to be predicted, or are known.

    Attributes
    ----------
    name, donor
        Who it is, and whom it comes from.
    spots
        N barcodes, in the order of `st.h5ad`: those of the fold, which may be some of the sample's.
    positions_px
        (N, 2) float64, x and y in px of the full-resolution image.
    pictures
        None for a method that does not say that it needs patches.
    vectors
        Of the encoder that the method's row names, of these spots and perhaps others; None where it names none.
    """

    name: str
    donor: str
    spots: Sequence[str]
    positions_px: NDArray[np.float64]
    pictures: Pictures | None = None
    vectors: Vectors | None = None

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel of the full-resolution image, um; as `images`, for methods that need patches."""
        from spotweave.slide.patch_files import PatchReader

        with PatchReader(*self._pictures()) as read:
            return float(read.file["coords"].attrs["pixel_size"])

    @property
    def patch_um_per_px(self) -> float:
        """Side of a pixel of its patches, um; as `images`, for methods that need patches."""
        from spotweave.slide.patch_files import PatchReader

        with PatchReader(*self._pictures()) as read:
            return float(read.file["coords"].attrs["pixel_size_target"])

    @property
    def patch_px(self) -> int:
        """Side of its patches in their own pixels; as `images`, for methods that need patches."""
        from spotweave.slide.patch_files import PatchReader

        with PatchReader(*self._pictures()) as read:
            if "img" in read.file:
                return int(read.file["img"].shape[1])
            return int(read.file["coords"].attrs["patch_size_target"])

    @property
    def positions_um(self) -> NDArray[np.float64]:
        """(N, 2) float64, x and y in um; as `images`, for methods that need patches."""
        return self.positions_px * self.pixel_size_um

    def images(self, batch: int = 256) -> Iterator[NDArray[np.uint8]]:
        """Patches of the spots in their order, (n, size, size, 3) RGB, at most `batch` at a time.

        Raises
        ------
        ValueError
            If the method does not say that it needs patches, or spots have none.
        """
        import numpy as np

        from spotweave.slide.patch_files import PatchReader

        with PatchReader(*self._pictures()) as read:
            row_of = {name: row for row, name in enumerate(read.names())}
            rows = np.array([row_of.get(name, -1) for name in self.spots], dtype=np.int64)
            if (np.diff(rows, prepend=-1) <= 0).any():
                raise ValueError(f"{self.name}: its patches are not those of its spots, in their order")
            for start in range(0, len(read), batch):
                wanted = rows[(rows >= start) & (rows < start + batch)] - start
                if len(wanted):
                    yield read.images(start, start + batch)[wanted]

    def embedded(self) -> NDArray[np.float32]:
        """(N, D) vectors of the spots in their order, found by barcode.

        Raises
        ------
        CannotPredict
            If the encoder says nothing of a spot.
        ValueError
            If the method's row names no encoder.
        """
        if self.vectors is None:
            raise ValueError(f"{self.name}: no vectors, as the method's row names no encoder")
        rows = [self.vectors.rows.get(spot, -1) for spot in self.spots]
        if -1 in rows:
            raise CannotPredict(
                f"{self.vectors.encoder} has no embedding of {rows.count(-1)} of {len(rows)} spots of {self.name}"
            )
        found: NDArray[np.float32] = self.vectors.features[rows]
        return found

    def _pictures(self) -> tuple[Path, Path | None]:
        if self.pictures is None:
            raise ValueError(f"{self.name}: no patches, as the method does not name them in its NEEDS")
        return self.pictures.patches, self.pictures.slide


@dataclass(frozen=True)
class TrainingSample:
    """Spots of one sample whose expression is known.

    Attributes
    ----------
    sample
        The spots themselves.
    expression
        (N, G) float64 on the protocol's scale, finite.
    counts
        (N, G) float64 raw counts of the same genes.
    totals
        (N,) float64 counts of each spot over all genes of its sample.
    inner_folds
        (N,) int; spots of one number are held out together when a setting (or an epoch) is chosen.
    """

    sample: Sample
    expression: NDArray[np.float64]
    counts: NDArray[np.float64]
    totals: NDArray[np.float64]
    inner_folds: NDArray[np.int64]


@dataclass(frozen=True)
class Training:
    """All that a method may learn from in one fold.

    Attributes
    ----------
    samples
        At least one, sorted by name, each of one spot or more.
    genes
        G names.
    scale
        The protocol's scale of expression, a key of `spotweave.expression.scales.SCALES`.
    held_out
        What an inner fold holds out together: `donor`, `sample` or `block`.
    """

    samples: Sequence[TrainingSample]
    genes: Sequence[str]
    scale: str
    held_out: str


@dataclass(frozen=True)
class Job:
    """What a fit is given beside its data.

    Attributes
    ----------
    seed
        Of everything random.
    threads
        CPU threads it may use.
    scratch
        A folder of its own for checkpoints, which outlives a job that is killed; None keeps none.
    """

    seed: int
    threads: int = 1
    scratch: Path | None = None

    @classmethod
    def beside(cls, model: Path | None, seed: int, threads: int) -> Job:
        """A job whose checkpoints lie beside the folder that its model will be kept in."""
        return cls(seed, threads, None if model is None else model.with_name(f"{model.name}.training"))


class Method(Protocol):
    """A fitted method."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Settings that were chosen, by name; they become attributes of the prediction's file, None is left out."""

    def predict(self, sample: Sample) -> NDArray[np.float64]:
        """(N, G) finite expression on the protocol's scale, a row for each of the sample's spots, in their order.

        Raises
        ------
        CannotPredict
            If the sample cannot be predicted: the fold is then not run.
        """
