"""Checking tables of rows, against reading them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

from measure import cost_of
from turns import in_turn, seconds, times

SAMPLES = 1229
REPEATS = 5


def bench_tables(folder: Path) -> list[str]:
    """Rows of the table."""
    from spotweave.tables.rows import read_table

    with open(ROOT / "config/cohorts/her2st.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    path = folder / "many.csv"
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows({**rows[n % len(rows)], "sample_id": f"s{n}"} for n in range(SAMPLES))

    def plain() -> None:
        with open(path, newline="") as opened:
            list(csv.DictReader(opened))

    schema = ROOT / "workflow/schemas/cohort.schema.yaml"
    cost = in_turn({"check": lambda: read_table(path, schema, "sample_id"), "read": plain})
    query = [sys.executable, str(ROOT / "scripts/query.py"), "--count", "technology"]
    add = f"import sys; sys.path.insert(0, {str(ROOT / 'workflow')!r}); import spotweave.plan.tables"
    bare = [sys.executable, "-c", add]
    pairs = [(cost_of(query, ROOT).cpu_s, cost_of(bare, ROOT).cpu_s) for _ in range(REPEATS)]
    queries, imports = zip(*pairs, strict=True)
    return [
        f"| check {SAMPLES:,} rows of a cohort | {seconds(cost['check'])}, {times(cost['check'], cost['read'])} reading"
        " the CSV |",
        f"| check the whole catalogue, as `scripts/query.py` does | {seconds(queries)}, {times(queries, imports)}"
        " starting Python with the table library |",
    ]
