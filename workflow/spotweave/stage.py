"""What every script's main function shares: arguments, logging, atomic outputs and the way of a refusal.

A script declares its inputs and outputs by name and hands over one function, its work. `Stage` then

* gives the work temporary output paths and renames them when all are there: all of them or none;
* writes the stage's record (`--record`): accepted with its measures, refused with reason, measured
  and threshold, or passed on;
* turns a `Refusal` into outputs that hold the mark of a refusal and a record, exit code 0;
* passes on a refusal that arrives as an input with that mark, before anything heavy is imported; an empty input is
  damage, and a failure;
* notes in the ledger what it began and what it wrote, so that the next run sees what is missing or damaged.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from spotweave.arguments import expanded
from spotweave.errors import Refusal
from spotweave.io import PROCESS, is_refused, own_part_path, remove, remove_parts, write_json, write_refused
from spotweave.ledger import Entry

log = logging.getLogger("spotweave")

Work = Callable[[argparse.Namespace], dict[str, Any] | None]


class Stage:
    """One script's command line.

    Parameters
    ----------
    name
        The rule's name; it is the `stage` of the record.
    doc
        The script's docstring, shown by `--help`.
    inputs, outputs
        Names of the path arguments. A trailing `+` takes one or more paths; on an input `*` none or more, `@` one for
        each of `--samples`, given in their order or as one path with `{sample}` in it (commands over thousands of
        samples stay readable). Files of an `@` input may be refused: one refused sample is no reason to refuse what is
        gathered over many; the work leaves it out.
    record
        Whether the stage writes a record, that is, whether what it works on can be refused.
    takes_refused
        Whether refused inputs are handed to the work (for the stages that report refusals)
        instead of being passed on.

    Attributes
    ----------
    also
        Files that the work has written beside its outputs (a release, downloads): it adds them here, and their sizes
        are kept in the ledger with those of the outputs.
    """

    def __init__(
        self,
        name: str,
        doc: str | None,
        *,
        inputs: Sequence[str] = (),
        outputs: Sequence[str],
        record: bool = True,
        takes_refused: bool = False,
    ) -> None:
        self.name = name
        self.outputs = tuple(name.rstrip("+") for name in outputs)
        self.inputs = tuple(name.rstrip("+*") for name in inputs if not name.endswith("@"))
        self.gathered = tuple(name.rstrip("@") for name in inputs if name.endswith("@"))
        self.has_record = record
        self.takes_refused = takes_refused
        self.also: list[Path] = []
        self.parser = argparse.ArgumentParser(prog=f"{name}.py", description=doc)
        for given in inputs:
            many = {"+": "+", "*": "*", "@": "+"}.get(given[-1])
            flag = f"--{given.rstrip('+*@').replace('_', '-')}"
            if many:
                self.parser.add_argument(flag, type=Path, nargs=many, action="extend", required=many == "+", default=[])
            else:
                self.parser.add_argument(flag, type=Path, required=True)
        for made in outputs:
            self.parser.add_argument(
                f"--{made.rstrip('+').replace('_', '-')}",
                type=Path,
                required=True,
                nargs="+" if made.endswith("+") else None,
            )
        if self.gathered:
            self.parser.add_argument(
                "--samples", nargs="+", action="extend", required=True, help="ids of the samples gathered over"
            )
        if record:
            self.parser.add_argument("--record", type=Path, required=True, help="JSON: how it went and how well")
            self.parser.add_argument("--code", default="", help="hash of the code that runs, kept in the record")
        self.option = self.parser.add_argument

    def run(self, work: Work, argv: Sequence[str] | None = None) -> None:
        """Parse `argv`, do the work, leave whole outputs or none."""
        args = self.parser.parse_args(expanded(sys.argv[1:] if argv is None else argv, sys.stdin))
        for name in self.gathered:
            setattr(args, name, self._per_sample(args, name))
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True)
        log.setLevel(logging.INFO)
        targets = self._paths(args, self.outputs)
        outputs = _Outputs([*targets, *([args.record] if self.has_record else [])])
        outputs.begin()
        try:
            outcome = self._outcome(args, targets, work)
            if self.has_record:
                write_json(own_part_path(args.record), {"stage": self.name, "code": args.code, **outcome})
            outputs.publish(self.also)
        finally:
            outputs.discard()

    def _outcome(self, args: argparse.Namespace, targets: Sequence[Path], work: Work) -> dict[str, Any]:
        """Write the outputs' part files; returns what the record says."""
        refused = [] if self.takes_refused else [path for path in self._paths(args, self.inputs) if is_refused(path)]
        if refused:
            log.info("%s: refused upstream (%s), passed on", self.name, refused[0])
            _mark_refused(targets)
            return {"status": "passed_on"}
        for output in self.outputs:
            path = getattr(args, output)
            setattr(args, output, [*map(own_part_path, path)] if isinstance(path, list) else own_part_path(path))
        try:
            return {"status": "accepted", "measures": work(args) or {}}
        except Refusal as refusal:
            if not self.has_record:
                raise
            log.warning("%s: REFUSED: %s", self.name, refusal.reason)
            _mark_refused(targets)
            self.also.clear()
            return {
                "status": "refused",
                "reason": refusal.reason,
                "measured": refusal.measured,
                "threshold": refusal.threshold,
            }

    def _per_sample(self, args: argparse.Namespace, name: str) -> list[Path]:
        paths: list[Path] = getattr(args, name)
        if len(paths) == 1 and "{sample}" in str(paths[0]):
            return [Path(str(paths[0]).replace("{sample}", sample)) for sample in args.samples]
        if len(paths) != len(args.samples):
            self.parser.error(f"--{name}: {len(paths)} paths for {len(args.samples)} samples")
        return paths

    def _paths(self, args: argparse.Namespace, names: Iterable[str]) -> list[Path]:
        paths: list[Path] = []
        for name in names:
            value = getattr(args, name)
            paths += value if isinstance(value, list) else [value]
        return paths


class _Outputs:
    """A job's outputs on their way: part files under names of this process alone, named together when all are there."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.parts = {path: own_part_path(path) for path in paths}
        self.entry = Entry.of_job(paths, PROCESS)

    def begin(self) -> None:
        """Claim the outputs; what killed runs have left of them goes."""
        for path in self.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_parts(path)
        self.entry.begin()

    def publish(self, also: Sequence[Path]) -> None:
        """Give every part its name, or none: one that is missing, or a rename that fails, leaves no output at all."""
        missing = [path.name for path, part in self.parts.items() if not part.exists()]
        if missing:
            raise FileNotFoundError(f"the stage ended without writing {', '.join(missing)}; nothing is kept of it")
        self.entry.require_latest()
        try:
            for path, part in self.parts.items():
                part.replace(path)
        except OSError:
            for path in self.parts:
                remove(path)
            raise
        self.entry.finish([*self.parts, *also])

    def discard(self) -> None:
        """Remove the parts that are left."""
        for part in self.parts.values():
            remove(part)


def _mark_refused(paths: Iterable[Path]) -> None:
    for path in paths:
        write_refused(own_part_path(path))
