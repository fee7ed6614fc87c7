"""Put the scores of all encoders side by side, as a table and as a picture."""

from _stage import Stage

stage = Stage("rank_encoders", __doc__, inputs=["scores*"], outputs=["leaderboard", "plot"], record=False)


def work(args):
    from spotweave.benchmark import figure, leaderboard

    scores = leaderboard.read_scores(args.scores)
    table = leaderboard.rank(scores)
    leaderboard.write(table, args.leaderboard)
    figure.draw(table, scores, args.plot)


if __name__ == "__main__":
    stage.run(work)
