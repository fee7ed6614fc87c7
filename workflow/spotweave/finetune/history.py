"""The course of a training as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_history(path: Path, history: Mapping[str, Any]) -> None:
    """Write `epoch,loss,recall_at_1,rankme`, one row an epoch; epoch 0 is before training.

    Recall and rank are measured before and after only; recall is empty where there are pictures only.
    """
    recall = history.get("recall_at_1", {"before": "", "after": ""})
    rank, last = history["rankme"], len(history["loss"])
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["epoch", "loss", "recall_at_1", "rankme"])
        writer.writerow([0, "", recall["before"], rank["before"]])
        for epoch, loss in enumerate(history["loss"], start=1):
            measured = [recall["after"], rank["after"]] if epoch == last else ["", ""]
            writer.writerow([epoch, loss, *measured])
