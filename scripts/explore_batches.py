"""How far cohorts, technologies and donors of a dataset lie apart, before and after corrections of batch effects."""

import json

from _stage import Stage

stage = Stage(
    "explore_batches",
    __doc__,
    inputs=["shards+", "st@"],
    outputs=["scores", "looked_at", "picture"],
    record=False,
)
stage.option(
    "--settings", required=True, type=json.loads, help="JSON of the configuration's batches block, genes aside"
)
stage.option("--listed", action="append", required=True, help="a gene that is looked at; once for each")
stage.option("--seed", type=int, default=0)


def work(args):
    from spotweave.batch import explore, spots
    from spotweave.batch.settings import Settings
    from spotweave.dataset.release import write_table

    files = dict(zip(args.samples, args.st, strict=True))
    settings = Settings(**args.settings)
    found = explore.explore(spots.accepted_rows(args.shards), files, args.listed, settings, args.seed, args.picture)
    write_table(args.scores, found.scores, explore.COLUMNS)
    write_table(args.looked_at, found.samples, spots.COLUMNS)


if __name__ == "__main__":
    stage.run(work)
