"""Detection of a complete request: its head and its declared body, regardless of how the data is split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.web.request_buffer import GRACE_PERIOD_S, MAX_BODY, MAX_HEAD, MIN_BYTES_PER_S, RequestBuffer

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
WHOLE = {
    "no body": HEAD + b"\r\n",
    "a body": HEAD + b"Content-Length: 5\r\n\r\nabcde",
    "an empty body": HEAD + b"content-length:0\r\n\r\n",
    "pieces": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
    "pieces that hold an end": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n7\r\n0\r\n\r\nab\r\n0\r\nTrailer: x\r\n\r\n",
}
# These count as complete, and the parser rejects them.
ODD = {
    "no number": HEAD + b"Content-Length: five\r\n\r\n",
    "a number with a sign": HEAD + b"Content-Length: +5\r\n\r\n",
    "too large": HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1),
    "a piece without a number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an empty piece line": HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a negative piece": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a piece that is too short": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab\r\n0\r\n\r\n",
    "a piece line without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 400,
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_request_is_whole_with_its_last_byte_and_not_before(name):
    incoming, data = RequestBuffer(0.0), WHOLE[name]
    for position in range(len(data)):
        assert not incoming.is_complete(), data[:position]
        incoming.add(data[position : position + 1])
    assert incoming.is_complete()


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 200), max_size=5))
def test_it_does_not_matter_how_a_request_is_cut(name, cuts):
    data = WHOLE[name]
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    incoming, completeness = RequestBuffer(0.0), []
    for start, end in itertools.pairwise(edges):
        incoming.add(data[start:end])
        completeness.append(incoming.is_complete())
    assert completeness == [False] * (len(completeness) - 1) + [True]


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_handed_on_to_be_refused(name):
    assert RequestBuffer(0.0, ODD[name]).is_complete()


def test_a_body_in_pieces_is_collected_up_to_the_largest_file():
    incoming = RequestBuffer(0.0, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    while not incoming.is_complete():
        assert len(incoming.data) < MAX_BODY
        incoming.add(piece)
    assert len(incoming.data) >= MAX_BODY


def test_a_head_has_a_size():
    incoming = RequestBuffer(0.0, HEAD + b"X: " + b"x" * MAX_HEAD)
    assert (incoming.is_complete(), incoming.is_head_too_large()) == (False, True)


def test_t29_patience_ends_and_grows_with_what_came():
    slow, busy = RequestBuffer(100.0, HEAD), RequestBuffer(100.0, b"x" * MIN_BYTES_PER_S * 60)
    assert [slow.is_late(100.0 + GRACE_PERIOD_S), slow.is_late(101.0 + GRACE_PERIOD_S)] == [False, True]
    assert [busy.is_late(160.0 + GRACE_PERIOD_S), busy.is_late(161.0 + GRACE_PERIOD_S)] == [False, True]


@pytest.mark.parametrize(
    ("data", "waits"),
    [
        (HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", True),
        (HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\na", False),
        (HEAD + b"Content-Length: 5\r\n\r\n", False),
        (HEAD + b"Expect: 100-continue\r\n\r\n", False),
    ],
)
def test_who_asks_whether_the_body_may_come_waits_for_a_word(data, waits):
    incoming = RequestBuffer(0.0, data)
    assert (incoming.is_complete() is False and incoming.waits) is waits
