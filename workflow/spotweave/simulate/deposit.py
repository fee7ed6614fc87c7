"""The demo deposit: simulated samples in a folder, and a server that hands them out as their publishers would.

Three sections of Spatial Transcriptomics lie at plain addresses; one of Visium lies as GEO would hold it, to be found
by its accession alone; one of Xenium and one of Visium HD lie as 10x Genomics files its own.

Nothing heavy is imported before a sample has to be simulated, so that finding the deposit built costs no time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from RangeHTTPServer import RangeRequestHandler

from spotweave.io import atomic, read_json, remove, write_json

log = logging.getLogger("spotweave")

STAMP = "deposit.json"
FILES = "files"  # what is served; the truth lies beside it and is not
TRUTH = "truth"
SECTIONS: dict[str, dict[str, int]] = {
    "demo-a1": {"seed": 11, "donor": 0},
    "demo-b1": {"seed": 11, "donor": 1},
    "demo-c1": {"seed": 11, "donor": 2},
}
# Accession -> arguments of `visium_deposit.write_visium_deposit`. No such number has been given to anyone.
VISIUM: dict[str, dict[str, int]] = {"GSM9000000001": {"seed": 11, "donor": 3}}
# Arguments of `deposit_sections.write_xenium` and `write_visium_hd` by sample id; no such dataset is there.
XENIUM: dict[str, dict[str, Any]] = {
    "demo-x1": {
        "seed": 11,
        "donor": 4,
        "onboard": "V2_0",
        "alignment": "matrix",
        "filed_as": ("2.0.0", "Simulated_X1"),
        "pair": {"he_pixel_size_um": 0.55, "deformation_um": 8.0, "turn_deg": 91.0, "mirrored": True},
    },
}
VISIUM_HD: dict[str, dict[str, Any]] = {
    "demo-h1": {
        "seed": 11,
        "donor": 6,
        "sizes": (8, 16),
        "software": "spaceranger-3.1.3",
        "filed_as": ("3.1.3", "Simulated_H1"),
        "pair": {"he_pixel_size_um": 0.54, "turn_deg": -90.8, "mirrored": True, "stain_spread": 0.3},
    },
}
GEO_FOLDER = "geo/samples/{group}nnn/{accession}/suppl"


def build(
    folder: Path,
    sections: dict[str, dict[str, int]] | None = None,
    visium: dict[str, dict[str, int]] | None = None,
    xenium: dict[str, dict[str, Any]] | None = None,
    visium_hd: dict[str, dict[str, Any]] | None = None,
) -> bool:
    """Make the deposit in `folder` unless it is there, whole and from the same parameters and code.

    `sections` holds the arguments of `st_v1.simulate_section` by sample id, `visium` those of
    `visium_deposit.write_visium_deposit` by accession, `xenium` and `visium_hd` those of `deposit_sections` by sample
    id; the demo's own if none of them is given. Vendor files go to `folder/files`, the
    truth to `folder/truth`. The deposit is built beside and renamed. Returns whether it had to be built. Raises
    `FileExistsError` when `folder` holds anything else, which is left alone.
    """
    if sections is None and visium is None and xenium is None and visium_hd is None:
        sections, visium, xenium, visium_hd = SECTIONS, VISIUM, XENIUM, VISIUM_HD
    sections, visium, xenium, visium_hd = sections or {}, visium or {}, xenium or {}, visium_hd or {}
    made_from = _made_from({"st_v1": sections, "visium": visium, "xenium": xenium, "visium_hd": visium_hd})
    if _is_whole(folder, made_from):
        return False
    if folder.exists() and not (folder / STAMP).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not a demo deposit; give another folder or remove it")

    from spotweave.simulate.deposit_sections import write_visium_hd, write_xenium
    from spotweave.simulate.st_v1 import simulate_section, write_section

    with atomic(folder) as part:
        for sample_id, arguments in sections.items():
            log.info("simulating %s", sample_id)
            section = simulate_section(**arguments)
            write_section(section, part / FILES, sample_id, part / TRUTH)
        for accession, arguments in visium.items():
            log.info("simulating %s", accession)
            _write_geo_sample(part / FILES, accession, arguments)
        for sample_id, more in xenium.items():
            log.info("simulating %s", sample_id)
            write_xenium(part / FILES, part / TRUTH, sample_id, more)
        for sample_id, more in visium_hd.items():
            log.info("simulating %s", sample_id)
            write_visium_hd(part / FILES, part / TRUTH, sample_id, more)
        write_json(part / STAMP, {"simulated": True, "made_from": made_from, "bytes": _sizes(part / FILES)})
        remove(folder)
    return True


def _write_geo_sample(files: Path, accession: str, arguments: dict[str, int]) -> None:
    """One Visium sample in the folder that GEO would give it, with GEO's list of files."""
    from spotweave.simulate.visium_deposit import write_visium_deposit

    folder = files / GEO_FOLDER.format(group=accession[:-3], accession=accession)
    write_visium_deposit(folder, f"{accession}_V1_", **arguments)
    lines = ["#Archive/File\tName\tTime\tSize\tType"]
    for path in sorted(folder.iterdir()):
        lines.append(f"File\t{path.name}\t01/01/2000 00:00:00\t{path.stat().st_size}\t{path.suffix[1:].upper()}")
    (folder / "filelist.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sizes(files: Path) -> dict[str, int]:
    """Bytes of every file below a folder, by its path in it."""
    return {path.relative_to(files).as_posix(): path.stat().st_size for path in files.rglob("*") if path.is_file()}


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a deposit's vendor files, byte ranges too, on a free port of 127.0.0.1; yields the URL, ending in `/`."""
    handler = functools.partial(_QuietHandler, directory=str(folder / FILES))
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(RangeRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the command the server runs for owns the terminal."""


class _QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of a file is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _made_from(sections: dict[str, dict[str, Any]]) -> str:
    """Hash of the parameters and of this package's code."""
    digest = hashlib.sha256(json.dumps(sections, sort_keys=True).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()


def _is_whole(folder: Path, made_from: str) -> bool:
    try:
        stamp = read_json(folder / STAMP)
    except (OSError, ValueError):
        return False
    if stamp.get("made_from") != made_from:
        return False
    return _sizes(folder / FILES) == stamp.get("bytes")
