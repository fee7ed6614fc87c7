"""Mutated deposits against the library: refused, right, traceback, different data, local file read, out of bounds.

    python tests/fuzz/run.py --cases 5000 --seed 1 --only visium --out cases.jsonl

Every case takes one file of one deposit, mutates it and does what the workflow does with it: the reader, what is
written of its reading, and where spots are placed their alignment; for a picture its header and a reduced reading.
Cases run in forked workers, many in each, within limits of CPU time, memory and file size. Canary files outside the
deposits are watched by the kernel: whoever opens one, in whatever library, is seen.

Other data that the record says (a flag that the deposit as it was has not) are counted by flag; other data that it does
not say by the reason why nothing could tell (`fuzz_arguments`).

Exit code 1 if any case ended as a traceback, read a local file, left its bounds, was refused in words that name no
file, or came out with other data, without a word and without such a reason.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow")]
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VIPS_CONCURRENCY", "ARROW_IO_THREADS"):
    os.environ.setdefault(threads, "1")

import fuzz_arguments as arguments  # noqa: E402
import fuzz_deposits as deposits  # noqa: E402
import fuzz_differences as differences  # noqa: E402
import fuzz_mutations as mutations  # noqa: E402
import numpy as np  # noqa: E402

CASES_A_WORKER = 250
REAL_SHARE = 0.04  # of all cases: real files are larger
CPU_S = 15
MEMORY_MB = 768  # above what the worker held before the case
ADDRESS_MB = 4096
FILE_MB = 1024
SILENT_S = 180
LONGEST_MESSAGE = 1000
# Simulated ST arrays are printed with up to .3 steps of error, and real pictures are reduced copies.
SIMULATED_LIMITS = {"residual_max_um": 50.0, "pixel_size_max_um": 20.0}

REFUSED, RIGHT, NOTES, FLAGGED = "refused", "right", "other notes", "flagged"
TRACEBACK, LOCAL, BOUNDS, UNNAMED = "traceback", "local read", "out of bounds", "unclear"
ARGUED, SILENT = "argued", "silent"  # other data and nothing said: because nothing could tell, or without a reason
VERDICTS = (REFUSED, RIGHT, NOTES, FLAGGED, ARGUED, SILENT, TRACEBACK, LOCAL, BOUNDS, UNNAMED)
FAULTS = (SILENT, TRACEBACK, LOCAL, BOUNDS, UNNAMED)
CANARY_TEXT = "canary-7391-text"
CANARY_NUMBER = 7391739

Outcome = dict[str, Any]


class Watch:
    """Tells which of some files anybody in this process has opened (inotify)."""

    IN_OPEN = 0x20

    def __init__(self, paths: list[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths:
            if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(path), self.IN_OPEN) < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {path}")

    def seen(self) -> bool:
        """Whether one was opened since the last call."""
        try:
            return bool(os.read(self._handle, 1 << 16))
        except BlockingIOError:
            return False


class Opens:
    """Every path that Python code opens, while switched on."""

    def __init__(self) -> None:
        self.is_on = False
        self.paths: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event == "open" and isinstance(arguments[0], (str, bytes)):
            self.paths.add(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 - as a hook, cheap


class Bench:
    """What a worker needs to try one case."""

    def __init__(self, folder: Path, kept: Path, canary: Path, limits: dict[str, float]) -> None:
        self.folder, self.canary, self.limits = folder, canary, limits
        self.watch = Watch([canary, canary.with_suffix(".h5"), Path(f"{canary}.png")])
        self.opens = Opens()
        self.free = [str(folder), str(kept), sys.prefix, sys.base_prefix, str(ROOT / "workflow")]
        self.free += [str(ROOT / "resources"), str(Path(__file__).parent), "/proc/", "/sys/", "/dev/", "/usr/"]

    def read(self, deposit: deposits.Deposit, files: dict[str, Path], base: Outcome | None) -> Outcome:
        """What the workflow gets out of a deposit: hashes of its parts, notes, and what is needed to align."""
        if deposit.reader == "picture":
            return self._read_picture(files["image"])
        from spotweave import readers
        from spotweave.deposits.raw import RawFile
        from spotweave.expression.gene_names import gene_species
        from spotweave.io import write_json

        roles = readers.layout(deposit.reader).roles
        roles = (*roles.read_always, *roles.read_if_there)
        raws = {role: RawFile(path.name, path) for role, path in files.items() if role in roles}
        reading = readers.read_sample(deposit.reader, raws, deposit.member)
        reading.write(self.folder / "expression.h5ad", self.folder / "spots.csv")
        genes = reading.adata.var
        report = {**reading.report, "gene_species": gene_species(genes.index, genes["gene_id"])}
        write_json(self.folder / "record.json", report)
        said = (self.folder / "record.json").read_text() + (self.folder / "spots.csv").read_text(errors="replace")
        said += " ".join(map(str, [*genes.index, *genes["gene_id"]]))
        counted = reading.adata.X.data
        found = {
            "parts": _parts(reading),
            "notes": _digest((self.folder / "record.json").read_bytes()),
            "canary": CANARY_TEXT in said or bool((counted == CANARY_NUMBER).any()),
            "aligned": False,
            "kept": differences.of_reading(reading),
        }
        if deposit.reader in ("st_v1", "visium") and (base is None or base["aligned"]):
            flags = self._align(report, deposit.reader, is_base=base is None)
            found["aligned"] = flags is not None
            found["kept"].flags |= {*(flags or ())}
        return found

    def _read_picture(self, path: Path) -> Outcome:
        from spotweave.pictures.header import read_header
        from spotweave.pictures.reduced import read_reduced

        header = read_header(path)
        rgb, _ = read_reduced(path, 0.5)
        size = [header.width_px, header.height_px]
        # A header that says another size of pixel is told from colours that differ.
        return {
            "parts": {"size": _digest(repr(size).encode()), "colours": _digest(rgb.tobytes())},
            "notes": _digest(repr(header.pixel_size_um).encode()),
            "canary": False,
            "kept": differences.Kept(rgb=rgb, size=(header.width_px, header.height_px)),
        }

    def _align(self, report: dict[str, Any], reader: str, *, is_base: bool) -> list[str] | None:
        """The flags of the alignment with a picture painted by the unmutated selection; None if that is refused."""
        import pandas as pd

        from spotweave.align.lattice import Picture
        from spotweave.errors import Refusal
        from spotweave.placing import Options
        from spotweave.placing.lattice import align_sample

        table = pd.read_csv(self.folder / "spots.csv")
        if is_base:
            self.painted = _paint(table)
        size_px, read = self.painted
        options = Options((200.0, 200.0), 100.0) if reader == "st_v1" else Options((None, None), 55.0)
        try:
            picture = Picture("picture.tif", size_px, None)
            placed = align_sample(table, report, None, picture, read, options, self.limits | SIMULATED_LIMITS)
        except Refusal:
            if is_base:
                return None
            raise
        return list(placed.measures["flags"])

    def case(self, deposit: deposits.Deposit, path: Path, base: Outcome, rng: Any, others: list[Path]) -> Outcome:
        """Mutate, read, judge."""
        target = self.folder / "deposit" / path.name
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        container = deposits.container_of(path)
        try:
            kind = mutations.mutate(rng, path, container, target, others, self.canary)
        except (IndexError, KeyError, ValueError, TypeError) as error:  # such as a cell of a table without cells
            return {"container": container, "verdict": RIGHT, "said": f"not applicable: {error!r:.100}"}
        files = {role: target if file == path else file for role, file in deposit.files.items()}
        outcome: Outcome = {"container": container, "mutation": kind}
        if target.read_bytes() == path.read_bytes():
            return {**outcome, "verdict": RIGHT, "said": "the same bytes"}
        self.watch.seen()
        self.opens.paths.clear()
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        self.opens.is_on = True
        outcome |= self._judge(deposit, files, base, path)
        self.opens.is_on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        outcome["cpu_s"] = round(time.process_time() - started, 3)
        outcome["memory_mb"] = max(0, _memory("VmHWM") - before) >> 10
        strange = [name for name in self.opens.paths if not name.startswith(tuple(self.free))]
        if self.watch.seen() or strange:
            outcome |= {"verdict": LOCAL, "said": f"{strange or 'the canary'}"}
        elif outcome["memory_mb"] > MEMORY_MB:
            outcome |= {"verdict": BOUNDS, "said": f"{outcome['memory_mb']} MB; {outcome.get('said', '')[:200]}"}
        return outcome

    def _judge(self, deposit: deposits.Deposit, files: dict[str, Path], base: Outcome, path: Path) -> Outcome:
        from spotweave.errors import Refusal

        try:
            found = self.read(deposit, files, base)
        except Refusal as refusal:
            said = str(refusal.reason)
            json.dumps([refusal.measured, refusal.threshold])
            is_plain = said.isprintable() and len(said) <= LONGEST_MESSAGE
            is_named = any(path.name in said for path in files.values()) or "picture.tif" in said
            # What shows only when the spots are placed is said of spots, numbers and limits, not of a file.
            is_named |= refusal.measured is not None or any(
                word in said for word in ("spots", "spot pos", "pixel", "lattice")
            )
            verdict = REFUSED if is_plain and is_named else UNNAMED
            return {"verdict": verdict, "said": said[:400], "names_it": path.name in said}
        except MemoryError as error:
            return {"verdict": BOUNDS, "said": f"MemoryError: {error}", "where": _where(error)}
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return {"verdict": TRACEBACK, "said": said, "where": _where(error)}
        if found["canary"]:
            return {"verdict": LOCAL, "said": "the canary's content came out"}
        changed = [part for part, digest in found["parts"].items() if base["parts"][part] != digest]
        kinds = differences.kinds(base["kept"], found["kept"]) if changed else []
        if not kinds:  # the same, but for the order of its columns or the type of a number
            return {"verdict": RIGHT if found["notes"] == base["notes"] else NOTES, "said": ""}
        outcome = {"said": ", ".join(kinds), "kinds": kinds}
        flags = sorted(found["kept"].flags - base["kept"].flags)
        if flags:
            return {**outcome, "verdict": FLAGGED, "flags": flags}
        why = {kind: arguments.why(deposit.reader, deposit.role_of(path), path.name, kind) for kind in kinds}
        return {**outcome, "verdict": ARGUED if all(why.values()) else SILENT, "why": why}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _parts(reading: Any) -> dict[str, str]:
    """Hashes of what a reading says, whatever the order of its genes and units."""
    adata = reading.adata
    units, genes = np.argsort(adata.obs_names.to_numpy(str)), np.argsort(adata.var_names.to_numpy(str))
    counts = adata.X[units][:, genes].tocsr()
    counts.sort_indices()
    numbers = b"".join(np.ascontiguousarray(a).tobytes() for a in (counts.data, counts.indices, counts.indptr))
    spots = reading.spots.sort_values("spot_id", kind="stable")
    return {
        "counts": _digest(numbers),
        "units": _digest(adata.obs.iloc[units].to_csv().encode("utf-8", "surrogatepass")),
        "genes": _digest(adata.var.iloc[genes].to_csv().encode("utf-8", "surrogatepass")),
        "spots": _digest(spots.to_csv(index=False).encode("utf-8", "surrogatepass")),
    }


def _paint(table: Any) -> tuple[tuple[int, int], Any]:
    """A picture, stained where the spots are in tissue, and what reads it reduced."""
    from PIL import Image, ImageDraw

    known = table[np.isfinite(table["x_px"]) & np.isfinite(table["y_px"])]
    if not len(known):
        return (1000, 1000), lambda factor: (np.full((10, 10, 3), 240, np.uint8), (100.0, 100.0))
    size = tuple(int(known[axis].max() + 400) for axis in ("x_px", "y_px"))
    step = max(1.0, max(size) / 1000)
    canvas = Image.new("RGB", (round(size[0] / step), round(size[1] / step)), (240, 240, 240))
    draw = ImageDraw.Draw(canvas)
    inside = known[known["in_tissue"] == 1]
    radius = 0.75 * max(size) / 64 / step
    for x, y in zip(inside["x_px"] / step, inside["y_px"] / step, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(200, 120, 170))

    def read(factor: float) -> tuple[Any, tuple[float, float]]:
        wanted = tuple(max(1, round(side * min(factor, 1 / step))) for side in size)
        rgb = np.asarray(canvas.resize(wanted))
        return rgb, (size[0] / wanted[0], size[1] / wanted[1])

    return (size[0], size[1]), read


def _memory(what: str) -> int:
    """KB, from the kernel."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise ValueError(what)


def _where(error: BaseException) -> str:
    """The innermost place of ours, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/spotweave/" in frame.filename] or frames
    places = [
        f"{Path(f.filename).parent.name}/{Path(f.filename).name}:{f.lineno} {f.name}" for f in (ours[-1], frames[-1])
    ]
    return " <- ".join(dict.fromkeys(places))


def write_canaries(folder: Path) -> Path:
    """Files that nothing may open: text, HDF5 with the datasets of a count matrix, a picture."""
    import h5py
    from PIL import Image

    folder.mkdir()
    canary = folder / "canary"
    canary.write_text(f"{CANARY_TEXT}\n" * 100_000)
    with h5py.File(canary.with_suffix(".h5"), "w") as file:
        file["data"] = np.full(64, CANARY_NUMBER)
    Image.new("RGB", (64, 64), (200, 120, 170)).save(f"{canary}.png")
    return canary


def forked(work: Any) -> int:
    """Run `work` in a forked process and return its wait status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def run(cases: Sequence[int], seed: int, only: str, out: Path) -> list[Outcome]:
    """Run the cases of these numbers, a line of JSON each in `out`; returns them."""
    import anndata  # noqa: F401 - what all workers need is imported once, before they are forked
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import yaml

    from spotweave import readers
    from spotweave.placing import lattice  # noqa: F401

    for name in readers.READERS.names():
        readers.READERS.load(name, "read")
    limits = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = Path(temporary).resolve()
        listing, bases = folder / "listing", folder / "bases"

        def prepare() -> None:
            canary = write_canaries(folder / "outside")
            found = [d for d in deposits.write_all(folder / "deposits") if only in d.name]
            listing.write_bytes(pickle.dumps(found))
            (folder / "base").mkdir()
            bench = Bench(folder / "base", folder / "deposits", canary, limits)
            made = {}
            for deposit in found:
                base = bench.read(deposit, deposit.files, None)
                made[deposit.name] = (base, _paint_of(bench))
            bases.write_bytes(pickle.dumps({name: base for name, (base, _) in made.items()}))

        if os.waitpid(forked(prepare), 0)[1]:
            raise SystemExit("the deposits as they are cannot be read")
        found, base_of = pickle.loads(listing.read_bytes()), pickle.loads(bases.read_bytes())
        if not found:
            raise SystemExit(f"no deposit has {only!r} in its name")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("")
        left = list(cases)
        while left:
            done = _one_worker(folder, found, base_of, limits, seed, left[:CASES_A_WORKER], out)
            left = left[done:]
    return [json.loads(line) for line in out.read_text().splitlines() if "verdict" in line]


def _paint_of(bench: Bench) -> None:
    """Forget the last deposit's picture."""
    bench.__dict__.pop("painted", None)


def _one_worker(
    folder: Path, found: list[Any], base_of: dict[str, Any], limits: Any, seed: int, cases: list[int], out: Path
) -> int:
    """Run cases in one worker; returns how many are done, with one that killed it."""
    child = forked(lambda: _work(folder, found, base_of, limits, seed, cases, out))
    size, silent = 0, time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.05)
        if (now := out.stat().st_size) != size:
            size, silent = now, time.monotonic()
        elif time.monotonic() - silent > SILENT_S:
            os.kill(child, signal.SIGKILL)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    if not status:
        return len(cases)
    begun = lines[-1] if lines and "verdict" not in lines[-1] else {"case": cases[0]}
    why = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    with open(out, "a") as lines_out:
        lines_out.write(json.dumps({**begun, "verdict": BOUNDS, "said": f"worker ended: {why}"}) + "\n")
    return cases.index(int(begun["case"])) + 1


def _work(
    folder: Path, found: list[Any], base_of: dict[str, Any], limits: Any, seed: int, cases: list[int], out: Path
) -> None:
    mine = folder / "work"
    shutil.rmtree(mine, ignore_errors=True)
    (mine / "tmp").mkdir(parents=True)
    tempfile.tempdir = str(mine / "tmp")
    with open(folder / "noise", "ab") as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
    import pyvips  # noqa: F401 - starts threads, so not before the fork

    from spotweave.pictures import reduced  # noqa: F401
    from spotweave.slide import pyramid  # noqa: F401

    bench = Bench(mine, folder / "deposits", folder / "outside/canary", limits)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    address = (_memory("VmSize") << 10) + (ADDRESS_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (address, address))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MB << 20, FILE_MB << 20))
    simulated = [d for d in found if not d.is_real]
    real = [d for d in found if d.is_real]
    every = sorted({path for d in simulated for path in d.files.values()})
    painted: dict[str, Any] = {}
    with open(out, "a", buffering=1) as lines:
        for case in cases:
            rng = np.random.default_rng([seed, case])
            is_real = bool(real) and (not simulated or rng.random() < REAL_SHARE)
            deposit = _draw(rng, real if is_real else simulated)
            path = sorted(set(deposit.files.values()))[int(rng.integers(0, len(set(deposit.files.values()))))]
            begun = {"case": case, "deposit": deposit.name, "file": path.name}
            lines.write(json.dumps(begun) + "\n")
            base = base_of[deposit.name]
            if base.get("aligned"):
                if deposit.name not in painted:
                    bench.read(deposit, deposit.files, None)
                    painted[deposit.name] = bench.painted
                bench.painted = painted[deposit.name]
            same = [other for other in deposit.files.values() if other != path]
            others = same if same and rng.random() < 0.5 else every or sorted(deposit.files.values())
            lines.write(json.dumps({**begun, **bench.case(deposit, path, base, rng, others)}) + "\n")


def _draw(rng: Any, found: list[Any]) -> Any:
    """A technology first, then one of its deposits."""
    names = sorted({deposit.reader for deposit in found})
    # Containers are told by the readers of one or two technologies: pictures, alike for all, take a share of their own.
    name = names[int(rng.integers(0, len(names)))]
    of_it = [deposit for deposit in found if deposit.reader == name]
    return of_it[int(rng.integers(0, len(of_it)))]


def table(outcomes: list[Outcome]) -> str:
    """Verdicts by technology and by container, different data by mutation, and every kind of fault."""
    lines = []
    for what, key in (("technology", _technology), ("container", lambda o: o.get("container", "?"))):
        rows = collections.defaultdict(collections.Counter)
        for outcome in outcomes:
            rows[key(outcome)][outcome["verdict"]] += 1
        lines += ["", f"{what:<14}{'cases':>7}" + "".join(f"{verdict:>15}" for verdict in VERDICTS)]
        for name, counted in [*sorted(rows.items()), ("all", sum(rows.values(), collections.Counter()))]:
            cells = "".join(f"{counted[verdict]:>15}" for verdict in VERDICTS)
            lines.append(f"{name:<14}{counted.total():>7}{cells}")
    lines += _argued(outcomes)
    faults = collections.defaultdict(list)
    for outcome in outcomes:
        if outcome["verdict"] in FAULTS:
            faults[outcome["verdict"], outcome.get("where", "") or outcome["said"][:120]].append(outcome)
    lines += ["", "faults: verdict, where, how often, an example"]
    for (verdict, where), alike in sorted(faults.items(), key=lambda item: -len(item[1])):
        one = alike[0]
        lines.append(
            f"{len(alike):>5}  {verdict} | {where} | {one['said'][:160]} | case {one['case']} {one.get('deposit')} "
            f"{one.get('file')}: {one.get('mutation')}"
        )
    worst = {key: max((o.get(key, 0) for o in outcomes), default=0) for key in ("cpu_s", "memory_mb")}
    lines += ["", f"longest case {worst['cpu_s']} CPU s, largest {worst['memory_mb']} MB above the worker's own"]
    return "\n".join(lines)


def _argued(outcomes: list[Outcome]) -> list[str]:
    """Other data: how many by the flag that says so, and how many by the reason why nothing could tell."""
    flags = collections.Counter(
        code for o in outcomes if o["verdict"] == FLAGGED for code in {flag.partition(":")[0] for flag in o["flags"]}
    )
    lines = ["", "other data that the record says, by flag"]
    lines += [f"{count:>5}  {code}" for code, count in flags.most_common()]
    reasons = collections.Counter(
        (kind, why) for o in outcomes if o["verdict"] in (ARGUED, SILENT) for kind, why in o["why"].items()
    )
    lines += [
        "",
        "other data that nothing says: what differs: why nothing could tell (some differ in several ways)",
    ]
    lines += [f"{count:>5}  {kind}: {why or 'NO REASON STATED'}" for (kind, why), count in reasons.most_common()]
    return lines


def _technology(outcome: Outcome) -> str:
    return outcome.get("deposit", "?").split("/")[0]


def main() -> None:
    """Run, print the table, exit with 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat one")
    parser.add_argument("--again", type=Path, help="only the cases whose data came out different in this file")
    parser.add_argument("--only", default="", help="deposits that have this in their name, such as visium/mex")
    parser.add_argument("--out", type=Path, default=Path("fuzz.jsonl"), help="a line a case (default: %(default)s)")
    args = parser.parse_args()
    cases = range(args.first, args.first + args.cases)
    if args.again is not None:
        before = map(json.loads, args.again.read_text().splitlines())
        cases = sorted(one["case"] for one in before if one.get("verdict") in (FLAGGED, ARGUED, SILENT))
    outcomes = run(cases, args.seed, args.only, args.out)
    print(table(outcomes))
    sys.exit(any(outcome["verdict"] in FAULTS for outcome in outcomes))


if __name__ == "__main__":
    main()
