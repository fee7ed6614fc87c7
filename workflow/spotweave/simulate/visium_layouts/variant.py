"""What a layout of Visium files is, and how it is entered in a list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spotweave.simulate.count_files import Written, write_h5_layout_3
from spotweave.simulate.visium import Truth, block_of, draw_truth
from spotweave.simulate.visium_files import position_rows, write_positions

LISTS = "barcode_lists"  # the folder in which variants without positions leave their barcode list


@dataclass(frozen=True)
class Variant:
    """A layout, and what of the truth is in it.

    `write(folder, truth)` returns the files by role. `counted` and `placed` name the spots with counts and with
    positions (`tissue`, `every`, `counted` of `Truth`), `ids` and `genome` whether genes have them, `member` the
    sample to ask for. `positions_from` is `positions file`, or `loupe` or `barcode list` for those without one: they
    leave a barcode list in the folder `LISTS`, which holds a whole array only. `in_tissue` names the spots that the
    files, not the truth, have in tissue, `in_tissue_known` whether a reader can tell.
    """

    description: str
    write: Callable[[Path, Truth], Written]
    technology: str = "Visium"
    counted: str = "tissue"
    placed: str = "every"
    ids: bool = True
    genome: bool = True
    member: str | None = None
    capture_area: str = "6.5 mm"
    two_species: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    positions_from: str = "positions file"
    in_tissue: str = "tissue"
    in_tissue_known: bool = True

    def truth(self, seed: int = 0, *, whole_array: bool = True) -> Truth:
        """A truth that suits the layout."""
        whole_array = whole_array or self.positions_from != "positions file"
        return draw_truth(seed, capture_area=self.capture_area, two_species=self.two_species, whole_array=whole_array)


Write = Callable[[Path, Truth], Written]


class Variants(dict[str, Variant]):
    """Layouts by name, in the order in which they were added."""

    def add(self, description: str, **what: Any) -> Callable[[Write], None]:
        """Enter the function that is decorated, under its name; `what` are fields of `Variant`."""

        def enter(write: Write) -> None:
            self[write.__name__.strip("_")] = Variant(description, write, **what)

        return enter

    def add_without_positions(self, description: str, **what: Any) -> Callable[[Write], None]:
        """Enter a layout without a positions file twice, once for each slide."""

        def enter(write: Write) -> None:
            name = write.__name__.strip("_")
            self[name] = Variant(description, write, **what)
            self[f"{name}_11_mm"] = Variant(f"{description}, 11 mm", write, capture_area="11 mm", **what)

        return enter


def write_filtered(folder: Path, truth: Truth) -> Path:
    """The spots in tissue as Space Ranger files them."""
    return write_h5_layout_3(folder / "filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))


def write_list(folder: Path, truth: Truth) -> Path:
    """The positions of all spots as Space Ranger 1 files them."""
    return write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every))
