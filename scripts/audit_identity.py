"""Compare all samples' fingerprints: copies, shared pictures and shared donors, found or known."""

import json

from _stage import Stage

stage = Stage("audit_identity", __doc__, inputs=["fingerprints@"], outputs=["table"], record=False)
stage.option("--donors", nargs="+", action="extend", required=True, help="the donor of each sample, in their order")
stage.option("--known", required=True, type=json.loads, help="rows of resources/identities.csv, as JSON")


def work(args):
    from spotweave.dataset.release import write_table
    from spotweave.identity import audit
    from spotweave.io import is_refused

    donors = dict(zip(args.samples, args.donors, strict=True))
    paths = dict(zip(args.samples, args.fingerprints, strict=True))
    prints = audit.Files({sample: path for sample, path in paths.items() if not is_refused(path)})
    findings = [*audit.find(prints), *audit.known(args.known, donors)]
    write_table(args.table, audit.table(findings, donors), audit.COLUMNS)


if __name__ == "__main__":
    stage.run(work)
