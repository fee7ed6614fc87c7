"""Scores of the released folder beside published ones, and a ledger of every number that was measured.

The comparison has a row for each published cell: what was measured, how far apart they are, whether that is within the
tolerance, or why it was not measured. The ledger holds what no output of the workflow may: the date and the machine.
It is only ever added to.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

READS = ("resources/published/hest_benchmark.csv",)
PUBLISHED = Path(__file__).resolve().parents[3] / READS[0]
TOLERANCE = 0.003
COMPONENTS = 256
PROTOCOL = "hest_exact"
# What published tables call a probe of ours.
PUBLISHED_PROBE = {"ridge": "pca256+ridge", "xgboost": "pca256+xgboost", "ridge_all": "ridge"}
# The release of 2024 calls one task after the organ; the paper's tables after the cancer.
TASK_NAMES = {"lung": "luad"}
COLUMNS = ("task", "encoder", "probe", "source", "published", "measured", "difference", "within", "reason")


def read_published(path: Path = PUBLISHED) -> list[dict[str, str]]:
    """Rows `encoder,probe,task,pearson_mean,pearson_std,source`."""
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def compare(
    published: Iterable[Mapping[str, str]],
    scores: Iterable[Mapping[str, Any]],
    missing: Mapping[tuple[str, str], str],
    tolerance: float = TOLERANCE,
) -> list[dict[str, str]]:
    """A row for each published cell, in their order; columns as `COLUMNS`.

    Parameters
    ----------
    scores
        As from `scoring.score_task`; only those of the protocol that published numbers were made by count.
    missing
        (Task, encoder) -> why it has no score, where it was asked for.
    tolerance
        The largest difference that is `yes` under `within`.
    """
    own = [one for one in scores if one["protocol"] == PROTOCOL]
    found = {(_task(one["task"]), one["encoder"], PUBLISHED_PROBE.get(one["probe"])): one for one in own}
    why = {(_task(task), encoder): reason for (task, encoder), reason in missing.items()}
    tasks, tried = {_task(one["task"]) for one in own}, {one["encoder"] for one in own}
    rows = []
    for cell in published:
        task, encoder = _task(cell["task"]), cell["encoder"]
        row = {name: cell.get(name, "") for name in COLUMNS} | {"published": cell["pearson_mean"]}
        score = found.get((task, encoder, cell["probe"]))
        if score is None:
            row["reason"] = why.get((task, encoder)) or _not_asked(task in tasks, encoder in tried)
        elif cell["probe"].startswith("pca256") and score["components"] != COMPONENTS:
            row["measured"] = f"{score['pearson_mean']:.4f}"
            row["reason"] = f"not comparable: {score['components']} components, published with {COMPONENTS}"
        else:
            difference = score["pearson_mean"] - float(cell["pearson_mean"])
            row |= {"measured": f"{score['pearson_mean']:.4f}", "difference": f"{difference:+.4f}"}
            # Published with four decimals: what rounds to the tolerance is within it.
            row["within"] = "yes" if round(abs(difference), 4) <= tolerance else "no"
        rows.append(row)
    return rows


def summary(rows: Sequence[Mapping[str, str]], tolerance: float = TOLERANCE) -> str:
    """One line on a comparison."""
    compared = [row for row in rows if row["within"]]
    within = sum(row["within"] == "yes" for row in compared)
    said = f"{within} of {len(compared)} measured cells within {tolerance:g} of the published ones"
    return f"{said}; {len(rows) - len(compared)} of {len(rows)} not compared, each with its reason"


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table as text."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def add_to_ledger(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add a line of JSON for each measured number; lines of others, written at the same time, stay whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(entry, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n" for entry in entries)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def unlisted(path: Path, entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of which the ledger has no line that says the same but for its date: tables are read more often than
    numbers are measured."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    there = {_dateless(json.loads(line)) for line in lines}
    return [entry for entry in entries if _dateless(entry) not in there]


def _dateless(entry: Mapping[str, Any]) -> str:
    return json.dumps({**entry, "date": None}, sort_keys=True)


def _task(name: str) -> str:
    plain = name.casefold().replace("-", "_")
    return TASK_NAMES.get(plain, plain)


def _not_asked(has_task: bool, has_encoder: bool) -> str:
    if has_task and has_encoder:
        return "this encoder and probe were not asked for on this task"
    return "this encoder was not asked for" if has_task else "this task was not asked for, or is not in the folder"
