"""Scores of encoders against their size and their pretraining, published ones and those measured here."""

from _stage import Stage

stage = Stage("draw_scaling", __doc__, inputs=["leaderboard"], outputs=["laws", "plot"], record=False)


def work(args):
    import pandas as pd

    from spotweave.benchmark import scaling

    found = scaling.points(pd.read_csv(args.leaderboard), *scaling.read_published())
    scaling.laws(found).to_csv(args.laws, index=False, lineterminator="\n")
    scaling.draw(found, args.plot)


if __name__ == "__main__":
    stage.run(work)
