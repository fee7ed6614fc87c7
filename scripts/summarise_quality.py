"""One page for people: what every sample measured, and what was refused and why."""

from _stage import Stage

stage = Stage("summarise_quality", __doc__, inputs=["shards+"], outputs=["table"], record=False)


def work(args):
    from spotweave.io import read_json
    from spotweave.report.quality import quality_page

    samples = [sample for shard in args.shards for sample in read_json(shard)["samples"]]
    args.table.write_text(quality_page(samples), encoding="utf-8")


if __name__ == "__main__":
    stage.run(work)
