"""Which rows a run builds."""

import pytest

from spotweave.tables import selection

ROWS = {
    "a": {"organ": "Breast", "technology": "Xenium", "licence": "CC-BY-4.0", "sets": "hest-bench hest-bench-idc"},
    "b": {"organ": "Lymph node", "technology": "Visium", "licence": "CC-BY-NC-4.0"},
    "c": {"organ": "breast", "technology": "Visium"},
}


def chosen(query="", licences=()):
    return selection.choose(ROWS, selection.parse_query(query, ["organ", "technology", "sets"]), licences)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "c"]),
        ("organ=Breast", ["a", "c"]),
        ("organ=BREAST technology=visium", ["c"]),
        ("technology=Visium,Xenium", ["a", "b", "c"]),
        ('"organ=Lymph node"', ["b"]),
        ("organ='Lymph node',Breast technology=Visium", ["b", "c"]),
        ("sets=hest-bench-idc", ["a"]),
        ("sets=hest-bench", ["a"]),
        ("sets=unspecified", ["b", "c"]),
    ],
)
def test_a_query_chooses_rows_by_their_cells(query, expected):
    assert chosen(query)[0] == expected


def test_what_is_not_chosen_is_left_out_with_its_reason():
    assert chosen("technology=Visium")[1] == {"a": "not selected: technology is Xenium"}


def test_licences_that_are_not_allowed_leave_rows_out():
    names, left_out = chosen(licences=["cc-by-4.0"])
    assert names == ["a"]
    assert left_out == {"b": "licence CC-BY-NC-4.0 is not allowed", "c": "licence unspecified is not allowed"}
    assert chosen(licences=["CC-BY-4.0", "unspecified"])[0] == ["a", "c"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("organ", "'organ' is not column=value"),
        ("organ=", "'organ=' is not column=value"),
        ("orgam=Breast", "did you mean 'organ'"),
        ("xyz=1", "allowed: organ, sets, technology"),
        ("organ=a organ=b", "asked for twice"),
        ("'organ=a", "quot"),
    ],
)
def test_a_query_that_cannot_be_read_says_why(query, message):
    with pytest.raises(ValueError, match=message):
        chosen(query)
