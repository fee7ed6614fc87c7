"""The leaderboard as a page of the report: a table for each task and protocol, with what a reader compares."""

from __future__ import annotations

import jinja2
import pandas as pd

from spotweave.report.style import STYLE

HEADER = (
    "rank",
    "predictor",
    "score (95 % interval)",
    "chance",
    "components",
    "not told apart from, for other donors",
    "not told apart from, on these sections",
    "seen of the test side",
    "training",
    "note",
)
PAGE = jinja2.Environment(autoescape=True).from_string(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Leaderboard</title>'
    "<style>{{ style|safe }}</style></head><body>"
    "{% for title, remark, rows in tables %}<h2>{{ title }}</h2><p>{{ remark }}</p>"
    "<table><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>"
    "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>"
    "{% else %}<p>Nothing was scored: no task or no encoder is chosen.</p>{% endfor %}</body></html>\n"
)


def leaderboard_page(leaderboard: pd.DataFrame, score: str) -> str:
    """HTML of the page.

    Parameters
    ----------
    leaderboard
        As `benchmark.ties.with_ties` gives it.
    score
        The column that ranks go by.
    """
    tables = [
        (f"{task} · {protocol}", remark_on(rows), [_cells(row, score) for _, row in rows.iterrows()])
        for (task, protocol), rows in leaderboard.groupby(["task", "protocol"], sort=False)
    ]
    return PAGE.render(style=STYLE, header=HEADER, tables=tables)


def remark_on(rows: pd.DataFrame) -> str:
    """What the verdicts of one task and protocol rest on, in a sentence; nothing where there is nothing to compare."""
    donors = rows["donors"].dropna()
    if donors.empty:
        return ""
    many = int(donors.min())
    if (rows.loc[donors.index, "verdict"] == "too few donors").all():
        told = "too few to tell any predictor from another for other donors"
    else:
        told = "ranks are those that verdicts over them leave open"
    return f"{many} donor{'s' * (many != 1)}: {told}"


def ranks_of(row: pd.Series) -> str:
    """The ranks that a predictor may have: `1`, or `1 to 3`."""
    if pd.isna(row["rank_best"]):
        return ""
    first, last = int(row["rank_best"]), int(row["rank_worst"])
    return str(first) if first == last else f"{first} to {last}"


def _cells(row: pd.Series, score: str) -> list[str]:
    interval = "" if pd.isna(row["score_low"]) else f" ({row['score_low']:.3f} to {row['score_high']:.3f})"
    return [
        ranks_of(row),
        row["predictor"],
        "" if pd.isna(row[score]) else f"{row[score]:.3f}{interval}",
        f"{row['pearson_null95']:.3f}" if pd.notna(row.get("pearson_null95")) else "",
        "" if pd.isna(row["components"]) else str(row["components"]),
        "" if row["verdict"] == "too few donors" else _text(row["not_told_apart_from"]),
        _text(row["not_told_apart_on_sections"]),
        _text(row["leaks"]),
        _text(row["training"]),
        _text(row["note"]),
    ]


def _text(cell: object) -> str:
    return "" if pd.isna(cell) else str(cell)
