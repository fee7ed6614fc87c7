"""What a task's `genes` may say, and lists of genes: read before the first job, so nothing heavy is imported.

It is `variable`, a choice made on training samples, one that looks at test spots too, the name of a list of
`resources/genes/`, or the path of a list of one's own.
"""

from __future__ import annotations

from pathlib import Path

VARIABLE = "variable"
# Those of `gene_sets.CHOICES`, which imports what they need.
CHOICES = ("train_hvg", "moran", "sparse", "mean", "svg")
# A choice that looks at test spots beside training spots.
SPARSE_BOTH = "sparse_both"
LISTS = Path(__file__).resolve().parents[3] / "resources/genes"


def list_path(name: str) -> Path | None:
    """The file of a list of genes: of the project, by its name, or of one's own, by its path; None for a choice."""
    if name in (VARIABLE, SPARSE_BOTH) or name in CHOICES:
        return None
    ours = LISTS / f"{name}.txt"
    return ours if "/" not in name and ours.is_file() else Path(name)


def read_list(path: Path) -> list[str]:
    """Names of genes, one a line, sorted; blank lines and lines that begin with # are left out.

    Raises
    ------
    ValueError
        If there is no such file, or it holds no name, a name twice, or a line that is no name; the message says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"list of genes {path}: it is no text; give one name a line") from None
    except OSError as error:
        raise ValueError(f"list of genes {path}: {error.strerror}; give one name a line") from None
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if len(name.split()) > 1 or "," in name:
            raise ValueError(f"list of genes {path}, line {number}: {name[:60]!r} is not one name; write one a line")
        if name in first_line:
            raise ValueError(
                f"list of genes {path}, line {number}: {name!r} stands in line {first_line[name]} already; remove one"
            )
        first_line[name] = number
    if not first_line:
        raise ValueError(f"list of genes {path}: it holds no name; write one a line")
    return sorted(first_line)


def list_fault(name: str) -> str:
    """What is wrong with a task's `genes`, in one line; empty if nothing."""
    path = list_path(name)
    if path is None:
        return ""
    if "/" not in name and not path.is_file():
        ours = sorted(file.stem for file in LISTS.glob("*.txt"))
        allowed = ", ".join([VARIABLE, *CHOICES, SPARSE_BOTH, *ours])
        return f"{name!r} is no choice and no file; allowed: {allowed}, or the path of a list of one name a line"
    try:
        read_list(path)
    except ValueError as error:
        return str(error)
    return ""
