"""One fold's encoder for others: its file, a card, and the row that asks for it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from spotweave.errors import Refusal
from spotweave.io import atomic, file_hash, is_refused, read_json
from spotweave.networks.tower import EXPRESSION, HEADER_KEY, read_header

COLUMNS = (
    *("encoder", "builder", "weights", "source", "sha256", "dim", "input_px", "resize", "dtype", "licence", "gated"),
    *("gpu", "seen", "notes"),
)
OWN_LICENCE = "AGPL-3.0-or-later"


def export_encoder(results: Path, recipe: str, fold: int, out: Path) -> list[Path]:
    """Write `<recipe>-fold<k>.safetensors`, `card.md` and `encoders.csv` (one row) to a folder.

    Parameters
    ----------
    results
        The dataset's folder, in which the recipe was trained.

    Raises
    ------
    Refusal
        If the fold was not trained, or weights that it started from may not be passed on changed.
    """
    path = results / "finetune" / recipe / f"fold{fold}.safetensors"
    if not path.is_file() or is_refused(path):
        raise Refusal(f"{path} is not there, or refused: train recipe {recipe} first, or name another fold")
    header = read_header(path)
    licence = str(header["licence"] or OWN_LICENCE)
    if "-ND" in licence or header["base"].get("gated"):
        raise Refusal(
            f"{recipe} started from {header['base']['encoder']} ({licence}), which may not be passed on changed:"
            " share the recipe's row instead"
        )
    rows = _samples(results, header["train_samples"])
    name = f"{recipe}-fold{fold}"
    target = out / f"{name}.safetensors"
    with atomic(target) as part:
        state = safetensors.torch.load_file(path)
        own = {key: tensor for key, tensor in sorted(state.items()) if not key.startswith(EXPRESSION)}
        safetensors.torch.save_file(own, part, metadata={HEADER_KEY: _header_text(path)})
        part.chmod(0o644)
    row = {
        **{
            "encoder": name,
            "builder": "tower_file",
            "weights": "file",
            "source": str(target),
            "gated": "no",
            "gpu": "0",
        },
        **{"sha256": file_hash(target), "dim": header["embedding_dim"], "input_px": header["input_px"]},
        **{"resize": "bilinear", "dtype": "float32", "licence": licence},
        "seen": " ".join(sorted({one["cohort"] for one in rows if one.get("cohort")})),
        "notes": f"recipe {recipe} of task {header['task']}; donors {', '.join(header['test_donors'])} held out",
    }
    with atomic(out / "encoders.csv") as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    with atomic(out / "card.md") as part:
        part.write_text(_card(name, header, licence, rows, own, _scores(results, recipe)), encoding="utf-8")
    return [target, out / "card.md", out / "encoders.csv"]


def _header_text(path: Path) -> str:
    with safetensors.safe_open(path, framework="pt") as opened:
        text: str = opened.metadata()[HEADER_KEY]
        return text


def _samples(results: Path, names: list[str]) -> list[dict[str, str]]:
    table = results / f"{results.name}.csv"
    if not table.is_file():
        raise Refusal(f"{table} is not there: build the dataset first")
    with open(table, newline="", encoding="utf-8") as handle:
        by_id = {row["id"]: row for row in csv.DictReader(handle)}
    missing = [name for name in names if name not in by_id]
    if missing:
        raise Refusal(f"{table} has no row of {missing[0]}, which the encoder learned from: it is of another build")
    return [by_id[name] for name in names]


def _scores(results: Path, recipe: str) -> list[str]:
    path = results / "finetune" / recipe / "metrics.json"
    if not path.is_file() or is_refused(path):
        return []
    said = read_json(path)
    lines = []
    for one in said["results"]:
        lines.append(
            f"- {one['protocol']}, {one['probe']}: {one['before_mean']:.3f} before, {one['after_mean']:.3f} after"
        )
    return lines


def _card(
    name: str,
    header: Mapping[str, Any],
    licence: str,
    rows: list[dict[str, str]],
    state: Mapping[str, Any],
    scores: list[str],
) -> str:
    base = header["base"]
    count = sum(tensor.numel() for tensor in state.values())
    organs = sorted({row.get("organ", "") for row in rows} - {""})
    technologies = sorted({row.get("st_technology", "") for row in rows} - {""})
    licences = sorted({row.get("licence_spdx", "") or "not stated" for row in rows})
    held_out, genes = ", ".join(header["test_donors"]), len(header["genes"])
    of_whom = f"{', '.join(header['train_samples'])} ({', '.join(organs)}; {', '.join(technologies)})"
    made_by = f"`{header['recipe']}` of task `{header['task']}`, fold {header['fold']}, seed {header['seed']}"
    lines = [
        f"# {name}",
        f"An encoder of H&E patches: {header['embedding_dim']} numbers from {header['input_px']} px,"
        f" {count:,} parameters.",
        "",
        f"- **Trained** by recipe {made_by}.",
        f"- **From** `{base['encoder']}` ({base['architecture']}, weights: {base['weights']})"
        + "".join(f"; {said}" for said in header.get("stand_ins", []))
        + ".",
        f"- **On** {len(rows)} samples: {of_whom}.",
        f"- **Never seen**: donors {held_out}. Scores on other donors of its task are of what it has seen.",
        f"- **Genes** it learned with: {genes}." if genes else "- **Genes**: none, pictures alone.",
        f"- **Licence** {licence}; of the data it learned from: {', '.join(licences)}.",
        "",
        "Use: copy the row of `encoders.csv` into `config/encoders.csv`. The file loads without running code.",
    ]
    if scores:
        lines += ["", "Scores of the recipe beside what it started from, all folds:", *scores]
    return "\n".join(lines) + "\n"
