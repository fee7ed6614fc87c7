"""Which species the names of genes belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable


def gene_species(names: Iterable[str], gene_ids: Iterable[str]) -> dict[str, float]:
    """Shares of genes that look human (ENSG, all capitals) and mouse (ENSMUSG, capitalised)."""
    human = mouse = total = 0
    for name, gene_id in zip(names, gene_ids, strict=True):
        total += 1
        known = gene_id or name
        if known.startswith("ENSMUSG"):
            mouse += 1
        elif known.startswith("ENSG"):
            human += 1
        elif re.fullmatch(r"[A-Z][a-z][a-zA-Z0-9.-]*", name):
            mouse += 1
        elif re.fullmatch(r"[A-Z][A-Z0-9.-]+(orf\d+)?", name):
            human += 1
    return {"human": round(human / max(total, 1), 4), "mouse": round(mouse / max(total, 1), 4)}
