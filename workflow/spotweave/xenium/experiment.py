"""The manifest of a Xenium bundle, `experiment.xenium`: pixel size, versions, panel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from spotweave.deposits.opening import read_json
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import plain_number
from spotweave.errors import Refusal

VERSION = re.compile(r"(?<!\d)(\d{1,4})\.(\d{1,4})(?:\.\d{1,9}){0,4}")
PIXEL_SIZES_UM = (0.05, 1.0)  # the instrument's is 0.2125 um
PANEL = {
    "panel_name": "name",
    "panel_organism": "organism",
    "panel_tissue_type": "tissue",
    "panel_num_targets_predesigned": "targets_predesigned",
    "panel_num_targets_custom": "targets_custom",
}


@dataclass(frozen=True)
class Experiment:
    """What a bundle says of itself.

    Attributes
    ----------
    pixel_size_um
        um per px of the DAPI picture.
    onboard_version
        Version of Xenium Onboard Analysis: its number, or, where it has none ("R&D"), the manifest's own major and
        minor version; empty if not given.
    onboard_stated
        What the manifest says, as it stands there; empty if not given.
    ranger_version
        Version of Xenium Ranger, where the cells were segmented again; empty otherwise, or if it has no number.
    segmented_again
        Whether Xenium Ranger segmented the cells again, whatever its version.
    cells
        Number of cells, None if not given.
    panel
        What is said of the gene panel.
    names
        Run, region, slide and cassette, as far as they are given.
    """

    pixel_size_um: float
    onboard_version: str
    onboard_stated: str
    ranger_version: str
    segmented_again: bool
    cells: int | None
    panel: dict[str, str | int]
    names: dict[str, str]

    @property
    def version(self) -> str:
        """The version that wrote the bundle's tables: Xenium Ranger's, if it did."""
        return self.ranger_version or self.onboard_version


def read_experiment(raw: RawFile) -> Experiment:
    """Read the manifest.

    Raises
    ------
    Refusal
        It is no manifest, or has no pixel size between 0.05 and 1 um, without which um and px cannot be told apart.
    """
    content = read_json(raw)
    if not isinstance(content, Mapping):
        raise Refusal(f"{raw.name}: not the manifest of a Xenium bundle; download the file again")
    size = plain_number(content.get("pixel_size"))
    if size is None:
        raise Refusal(f"{raw.name}: no pixel_size; is it the experiment.xenium of a Xenium bundle? Download it again")
    if not PIXEL_SIZES_UM[0] <= size <= PIXEL_SIZES_UM[1]:
        raise Refusal(
            f"{raw.name}: a pixel_size of {size:g}; Xenium's is 0.2125 um, check the file, and that it is in um",
            measured=size,
            threshold=f"{PIXEL_SIZES_UM[0]:g} to {PIXEL_SIZES_UM[1]:g} um",
        )
    stated = content.get("analysis_sw_version")
    stated = stated.strip() if isinstance(stated, str) else ""
    ranger = content.get("xenium_ranger")
    cells = content.get("num_cells")
    named = ("run_name", "region_name", "slide_id", "cassette_name", "preservation_method")
    return Experiment(
        pixel_size_um=size,
        onboard_version=_version(stated) or _version(f"{content.get('major_version')}.{content.get('minor_version')}"),
        onboard_stated=stated,
        ranger_version=_version(ranger.get("version") if isinstance(ranger, Mapping) else ranger),
        segmented_again=bool(ranger),
        cells=cells if isinstance(cells, int) and not isinstance(cells, bool) else None,
        panel={new: content[old] for old, new in PANEL.items() if isinstance(content.get(old), str | int)},
        names={key: content[key] for key in named if isinstance(content.get(key), str) and content[key]},
    )


def _version(value: object) -> str:
    """The number in `xenium-1.3.0.5` and the like."""
    match = VERSION.search(value) if isinstance(value, str) else None
    return match[0] if match else ""
