"""What a method's fold is given beside spots and counts: patches of its samples, or an encoder's embeddings of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spotweave.benchmark.embeddings import read_embeddings
from spotweave.benchmark.predictions import NotPredicted
from spotweave.io import read_json
from spotweave.methods import Pictures, Vectors


@dataclass(frozen=True)
class Inputs:
    """By sample id, where its pictures and its embeddings lie.

    Attributes
    ----------
    pictures
        Patches; empty for methods that need none.
    embeddings
        `embeddings/{encoder}.h5` of the encoder that a row names; one that is marked as refused is of a refused sample
        or of an encoder that could not be had. Empty for a row that names none.
    refusals
        Why embeddings were refused, where they were.
    """

    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    embeddings: Mapping[str, Path] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        samples: Sequence[str],
        patches: str | None = None,
        slides: str | None = None,
        embeddings: str | None = None,
        records: str | None = None,
    ) -> Inputs:
        """From paths with `{sample}` in them; None where there are none. Of the files only the records are read."""

        def of(sample: str, path: str) -> Path:
            return Path(path.replace("{sample}", sample))

        found = {name: read_json(of(name, records)) for name in samples} if records else {}
        return cls(
            {name: Pictures(of(name, patches), of(name, slides) if slides else None) for name in samples}
            if patches
            else {},
            {name: of(name, embeddings) for name in samples} if embeddings else {},
            {name: record["reason"] for name, record in found.items() if record["status"] == "refused"},
        )

    def vectors(self, encoder: str, sample: str, fold: int) -> Vectors:
        """An encoder's embeddings of a sample, as it left them for a fold.

        Raises
        ------
        NotPredicted
            If it left none for this fold.
        """
        found = read_embeddings(self.embeddings[sample], fold)
        if found is None:
            raise NotPredicted(f"the encoder has no embeddings of {sample} for fold {fold}")
        return Vectors(encoder, {name: row for row, name in enumerate(found.barcodes.tolist())}, found.features)
