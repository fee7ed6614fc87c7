"""How every script treats its outputs: whole, empty with a record, or not there."""

import json

import pytest

from spotweave import ledger
from spotweave.errors import Refusal
from spotweave.io import PROCESS, REFUSED, is_refused
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


def test_a_refusal_leaves_marked_outputs_and_its_number(tmp_path):
    def work(args):
        args.result.write_text("half")
        raise Refusal("x.csv: too coarse", measured=3.18, threshold=1.15)

    record = run(tmp_path, work)
    assert record["status"] == "refused"
    assert (record["reason"], record["measured"], record["threshold"]) == ("x.csv: too coarse", 3.18, 1.15)
    assert all(is_refused(tmp_path / "out" / name) for name in ("result.txt", "p.png"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p.png", "record.json", "result.txt"]


def not_this(args):
    raise AssertionError("the work must not start")


def test_a_refused_input_is_passed_on_without_doing_the_work(tmp_path):
    assert run(tmp_path, not_this, content=REFUSED.decode())["status"] == "passed_on"
    assert is_refused(tmp_path / "out" / "result.txt")


@pytest.mark.parametrize("refused", range(4))
def test_whichever_input_is_refused_the_refusal_is_passed_on(tmp_path, refused):
    paths = [tmp_path / f"in{number}" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(REFUSED if number == refused else b"data")
    stage = Stage("try_stage", "doc", inputs=["first", "many+", "last"], outputs=["result"])
    places = {"--first": paths[:1], "--many": paths[1:3], "--last": paths[3:]}
    arguments = [str(word) for name, given in places.items() for word in (name, *given)]
    stage.run(not_this, [*arguments, "--result", str(tmp_path / "out"), "--record", str(tmp_path / "record.json")])
    assert is_refused(tmp_path / "out")


def test_an_empty_input_is_damage_and_no_refusal(tmp_path):
    with pytest.raises(ValueError, match=r"in\.txt is empty, so it is damaged"):
        run(tmp_path, not_this, content="")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_refusal_replaces_what_an_earlier_run_left(tmp_path):
    run(tmp_path, good)

    def work(args):
        raise Refusal("x.csv: too coarse")

    assert run(tmp_path, work)["status"] == "refused"
    assert all(is_refused(tmp_path / "out" / name) for name in ("result.txt", "p.png"))


def test_a_failure_leaves_nothing(tmp_path):
    def work(args):
        args.result.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, work)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_the_work_forgot_is_a_failure_and_none_is_published(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without writing p\.png"):
        run(tmp_path, lambda args: args.result.write_text("only one") and None)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_rename_that_fails_leaves_no_output(tmp_path):
    (tmp_path / "out/p.png/held").mkdir(parents=True)  # a file cannot take the place of a folder
    with pytest.raises(OSError):
        run(tmp_path, good)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".part-0123456789ab-result.txt").write_text("half")
    (tmp_path / "out" / ".part-result.txt").write_text("a download's, to be taken up")
    run(tmp_path, good)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [".part-result.txt", "p.png", "record.json", "result.txt"]


def test_a_run_that_was_started_again_leaves_the_outputs_alone(tmp_path, monkeypatch):
    """The head was killed, its job lives on, and the job was started anew: the old one must not publish."""
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / ".ledger"))

    def work(args):
        assert PROCESS in args.result.name
        outputs = [tmp_path / "out" / name for name in ("result.txt", "p.png", "record.json")]
        ledger.Entry.of_job(outputs, "another run").begin()
        return good(args)

    with pytest.raises(ledger.Superseded, match="started again"):
        run(tmp_path, work)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_ledger_tells_done_from_begun_gone_and_changed(tmp_path, monkeypatch):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / ".ledger"))
    known = ledger.Ledger(tmp_path / ".ledger")
    outputs = [tmp_path / "out" / name for name in ("result.txt", "p.png", "record.json")]
    assert known.faults(outputs) == []  # never written: Snakemake's to see

    def fail(args):
        raise OSError("disk full")

    run(tmp_path, good)
    assert known.faults(outputs) == []
    outputs[0].write_text("")
    outputs[1].unlink()
    assert sorted(fault.partition("out/")[2] for fault in known.faults(outputs)) == [
        "p.png has gone",
        "result.txt has 0 bytes, 5 were written",
    ]
    with pytest.raises(OSError):
        run(tmp_path, fail)
    assert "began and did not finish" in known.faults(outputs)[0]
    known.entry(outputs).write_text("{")
    assert "cannot be read" in known.faults(outputs)[0]


def test_a_failure_keeps_the_outputs_of_the_run_before(tmp_path):
    run(tmp_path, good)

    def work(args):
        args.result.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, work)
    assert (tmp_path / "out" / "result.txt").read_text() == "whole"


def test_a_stage_that_reports_refusals_gets_refused_inputs(tmp_path):
    seen = []

    def work(args):
        seen.append(is_refused(args.source))
        return good(args)

    run(tmp_path, work, content=REFUSED.decode(), takes_refused=True)
    assert seen == [True]


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


@pytest.mark.parametrize("written", ["\x1b[31mred", "a\0b", "a\r\nb", "a\u2028b", "a\ud800b", "a\u202eb", "a\tb"])
def test_a_reason_is_one_line_that_commands_no_terminal(written: str) -> None:
    reason = Refusal(f"counts.tsv: '{written}' is no count; correct it").reason
    assert reason.isprintable()
    assert reason.startswith("counts.tsv: '")
    assert reason.endswith("' is no count; correct it")
    reason.encode("utf-8")


def test_a_long_reason_keeps_the_file_and_the_advice() -> None:
    reason = Refusal(f"counts.tsv: {'x' * 2_000_000} is no count; correct it").reason
    assert len(reason) <= 1000
    assert reason.startswith("counts.tsv: xxx")
    assert reason.endswith("is no count; correct it")


def test_a_plain_reason_is_kept_as_it_is() -> None:
    reason = "Probe_é.tsv: 12,5 µm where 12.5 are expected; save it again"
    assert Refusal(reason).reason == str(Refusal(reason)) == reason
