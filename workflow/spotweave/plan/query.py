"""What a query chooses of a configuration: what `--config select=…` would build, without building it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from spotweave.errors import TableFaults
from spotweave.plan import tables
from spotweave.tables import config as configuration
from spotweave.tables import selection

SHOWN = ("sample_id", "donor", "technology", "species", "organ", "oncotree_code", "licence", "source", "accession")
TABLES = ("technologies_table", "encoders_table", "tasks_table", "recipes_table", "nuclei_table")


def choose(root: Path, configfile: Path, query: Iterable[str], licences: Iterable[str]) -> tables.Tables:
    """The tables of a configuration, narrowed to what is chosen.

    Parameters
    ----------
    root
        The project's folder, from which the configuration's paths lead.
    query
        `column=value[,value…]` each.
    licences
        SPDX identifiers that are allowed; none stands for any.

    Raises
    ------
    TableFaults
        With every fault of configuration, query and tables.
    """
    base, over = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (root / "config/config.yaml", configfile)
    )
    config = configuration.overlaid(base, over)
    config["cohorts"] = [str(root / path) for path in config["cohorts"]]
    config |= {key: str(root / config[key]) for key in TABLES}
    config["allow_licences"] = list(licences)
    # Quoted once more: the shell has taken the quotes that hold a value with blanks together.
    config["select"] = " ".join(f"'{part}'" for part in query)
    return tables.load(config, root, str(configfile))


def encoder_rows(root: Path, configfile: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows of the encoder table that a configuration names, by name.

    Raises
    ------
    TableFaults
        With every fault of configuration and tables, or the names that are in no row.
    """
    known = choose(root, configfile, [], []).encoders
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TableFaults(
            [f"encoders: {name!r} is no encoder, allowed: {', '.join(sorted(known))}" for name in unknown]
        )
    return {name: dict(known[name]) for name in names}


def listed(known: tables.Tables) -> list[str]:
    """One line a sample, cells parted by tabs, below a header."""
    rows = ("\t".join(row.get(column, "") for column in SHOWN) for row in known.samples.values())
    return ["\t".join(SHOWN), *rows]


def counted(known: tables.Tables, columns: Sequence[str]) -> list[str]:
    """How many samples have which cells in some columns: count and cells, parted by tabs."""
    cells = (tuple(row.get(column, selection.BLANK) for column in columns) for row in known.samples.values())
    return [f"{count}\t" + "\t".join(values) for values, count in sorted(Counter(cells).items())]
