"""How every script treats its outputs: whole, empty with a record, or not there."""

import json

import pytest

from spotweave.errors import Refusal
from spotweave.stage import Stage


def run(folder, work, *, content="data", **options):
    source = folder / "in.txt"
    source.write_text(content)
    stage = Stage("try_stage", "doc", inputs=["source"], outputs=["result", "picture"], **options)
    arguments = ["--source", source, "--result", folder / "out" / "result.txt", "--picture", folder / "out" / "p.png"]
    if options.get("record", True):
        arguments += ["--record", folder / "out" / "record.json", "--code", "abc"]
    stage.run(work, [str(argument) for argument in arguments])
    record = folder / "out" / "record.json"
    return json.loads(record.read_text()) if record.exists() else None


def good(args):
    args.result.write_text("whole")
    args.picture.write_text("whole")
    return {"spots": 3}


def test_accepted_work_leaves_whole_outputs_and_its_measures(tmp_path):
    record = run(tmp_path, good)
    assert record == {"stage": "try_stage", "code": "abc", "status": "accepted", "measures": {"spots": 3}}
    assert (tmp_path / "out" / "result.txt").read_text() == "whole"


def test_a_refusal_leaves_empty_outputs_and_its_number(tmp_path):
    def work(args):
        args.result.write_text("half")
        raise Refusal("x.csv: too coarse", measured=3.18, threshold=1.15)

    record = run(tmp_path, work)
    assert record["status"] == "refused"
    assert (record["reason"], record["measured"], record["threshold"]) == ("x.csv: too coarse", 3.18, 1.15)
    assert [(tmp_path / "out" / name).stat().st_size for name in ("result.txt", "p.png")] == [0, 0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p.png", "record.json", "result.txt"]


def test_an_empty_input_is_passed_on_without_doing_the_work(tmp_path):
    def work(args):
        raise AssertionError("the work must not start")

    assert run(tmp_path, work, content="")["status"] == "passed_on"
    assert (tmp_path / "out" / "result.txt").stat().st_size == 0


def test_a_failure_leaves_nothing(tmp_path):
    def work(args):
        args.result.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, work)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_the_work_forgot_is_a_failure(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path, lambda args: args.result.write_text("only one") and None)


def test_a_failure_keeps_the_outputs_of_the_run_before(tmp_path):
    run(tmp_path, good)

    def work(args):
        args.result.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, work)
    assert (tmp_path / "out" / "result.txt").read_text() == "whole"


def test_a_stage_that_reports_refusals_gets_empty_inputs(tmp_path):
    seen = []

    def work(args):
        seen.append(args.source.stat().st_size)
        return good(args)

    run(tmp_path, work, content="", takes_refused=True)
    assert seen == [0]


def test_a_refusal_where_none_can_travel_is_a_failure(tmp_path):
    def work(args):
        raise Refusal("no")

    with pytest.raises(Refusal):
        run(tmp_path, work, record=False)


def gather(folder, *paths):
    seen = []
    stage = Stage("gather", "doc", inputs=["parts@"], outputs=["result"], record=False)

    def work(args):
        seen.extend(args.parts)
        args.result.write_text("")

    stage.run(work, ["--samples", "a", "b", "--parts", *map(str, paths), "--result", str(folder / "result")])
    return seen


def test_a_gather_gets_one_path_a_sample_from_a_pattern_and_refuses_no_one_for_an_empty_one(tmp_path):
    for name in "ab":
        (tmp_path / name).touch()
    assert gather(tmp_path, tmp_path / "{sample}") == [tmp_path / "a", tmp_path / "b"]
    assert gather(tmp_path, tmp_path / "b", tmp_path / "a") == [tmp_path / "b", tmp_path / "a"]


def test_a_gather_with_a_path_too_few_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gather(tmp_path, tmp_path / "a")
    assert "1 paths for 2 samples" in capsys.readouterr().err


@pytest.mark.parametrize("empty", ["first", "second", "third"])
def test_any_empty_input_is_passed_on(empty, tmp_path):
    stage = Stage("try_stage", "doc", inputs=["first", "second", "many+"], outputs=["result"])
    paths = {name: tmp_path / name for name in ("first", "second", "third", "fourth")}
    for name, path in paths.items():
        path.write_text("" if name == empty else "data")
    arguments = ["--first", paths["first"], "--second", paths["second"], "--many", paths["fourth"], paths["third"]]
    arguments += ["--result", tmp_path / "out.txt", "--record", tmp_path / "record.json"]

    def work(args):
        raise AssertionError("the work must not start")

    stage.run(work, [str(argument) for argument in arguments])
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "passed_on"
    assert (tmp_path / "out.txt").stat().st_size == 0


def test_outputs_of_an_earlier_run_do_not_stay_when_the_sample_is_refused(tmp_path):
    def refuse(args):
        raise Refusal("too coarse")

    run(tmp_path, good)
    run(tmp_path, refuse)
    assert [(tmp_path / "out" / name).read_text() for name in ("result.txt", "p.png")] == ["", ""]
    run(tmp_path, good)
    run(tmp_path, good, content="")
    assert [(tmp_path / "out" / name).read_text() for name in ("result.txt", "p.png")] == ["", ""]
