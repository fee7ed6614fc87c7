"""Score software by a filled sheet: a row an item of the rubric, a column a software@version.

python scripts/score_usability.py --rubric resources/usability.csv --sheet sheet.csv --scores scores.csv
"""

from _stage import Stage

stage = Stage("score_usability", __doc__, inputs=["rubric", "sheet"], outputs=["scores"], record=False)


def work(args):
    from spotweave.benchmark import usability
    from spotweave.io import write_text

    rubric = usability.read_rubric(args.rubric)
    found = usability.scored(usability.read_sheet(args.sheet, rubric), rubric)
    write_text(args.scores, found.round(9).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    stage.run(work)
