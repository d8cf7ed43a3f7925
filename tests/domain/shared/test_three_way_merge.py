"""Tests of the three-way merge of form fields."""

from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.shared.three_way_merge import FieldConflict, merge

TEXTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["", "one", "two", "three"]), min_size=4, max_size=4)


def test_what_only_the_others_changed_is_taken_and_what_only_i_changed_stays():
    assert merge({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "3"}) == (("a",), ())


def test_what_both_changed_alike_is_no_question():
    assert merge({"a": "1"}, {"a": "2"}, {"a": "2"}) == ((), ())


def test_what_both_changed_otherwise_is_asked():
    assert merge({"a": "1"}, {"a": "2"}, {"a": "3"}) == ((), (FieldConflict("a", "1", "2", "3"),))


def test_without_what_was_there_before_every_difference_is_asked():
    assert merge({}, {"a": "2", "b": "x"}, {"a": "3", "b": "x"}) == ((), (FieldConflict("a", None, "2", "3"),))


def test_line_ends_and_space_around_are_no_change():
    assert merge({"a": "1\n2"}, {"a": "1\n2"}, {"a": " 1\r\n2 \r\n"}) == ((), ())


@given(TEXTS, TEXTS, TEXTS)
def test_nothing_of_either_side_is_lost(before, theirs, mine):
    accepted, conflicts = merge(before, theirs, mine)
    conflicting = {conflict.field for conflict in conflicts}
    for name in theirs:
        stored = theirs[name] if name in accepted else mine[name]
        assert stored in (theirs[name], mine[name])
        if theirs[name] != before[name] and stored != theirs[name]:
            assert name in conflicting
        if mine[name] != before[name]:
            assert stored == mine[name]
