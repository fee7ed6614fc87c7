"""Which species the names of genes belong to, and under which names the genes of several samples meet."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?")


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


def meeting_names(names: Sequence[Sequence[str]], gene_ids: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names under which the genes of several samples meet: one name for one id, wherever it is.

    The name of an id is the one that most samples display; one that is no id itself before one that is; ties go to the
    name that sorts first. Genes without an id keep their name. Names of one sample stay unique: where a name would fall
    on two of its genes, the one that had it keeps it, and the other is called by its id.

    Parameters
    ----------
    names, gene_ids
        One list per sample, of one entry per gene; names are unique within a sample, ids empty where unknown.

    Returns
    -------
    list
        Names as `names` has them, in the same order.
    """
    shown: dict[str, Counter[str]] = defaultdict(Counter)
    for of_sample, ids in zip(names, gene_ids, strict=True):
        for name, gene_id in zip(of_sample, ids, strict=True):
            if gene_id:
                shown[gene_id][name] += 1
    best = {
        gene_id: min(there, key=lambda name: (name == gene_id or bool(ENSEMBL.fullmatch(name)), -there[name], name))
        for gene_id, there in shown.items()
    }
    return [_rename(list(of_sample), ids, best) for of_sample, ids in zip(names, gene_ids, strict=True)]


def _rename(names: list[str], gene_ids: Sequence[str], best: Mapping[str, str]) -> list[str]:
    """Names of one sample after `best` (id -> name), unique."""
    wanted = [best.get(gene_id, name) for name, gene_id in zip(names, gene_ids, strict=True)]
    if wanted == names:
        return names
    used = {name for name, new in zip(names, wanted, strict=True) if name == new}
    for at in sorted(range(len(names)), key=names.__getitem__):
        old, new, gene_id = names[at], wanted[at], gene_ids[at]
        if old == new:
            continue
        choices = (new, gene_id, old, *(f"{gene_id}-{number}" for number in range(1, len(names) + 1)))
        wanted[at] = next(choice for choice in choices if choice not in used)
        used.add(wanted[at])
    return wanted


def why_they_do_not_meet(samples: Sequence[str], names: Sequence[Sequence[str]]) -> str:
    """One line on samples without a gene name in common, empty if there is one that all have."""
    common: set[str] = set(names[0])
    for sample, of_sample in zip(samples[1:], names[1:], strict=True):
        if not common & set(of_sample):
            return (
                f"{samples[0]} calls its genes {_some(sorted(common))} and {sample} {_some(sorted(of_sample))}: neither"
                " names nor ids (gene_id) meet; give both with gene symbols, or with Ensembl ids beside them"
            )
        common &= set(of_sample)
    return ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2])
