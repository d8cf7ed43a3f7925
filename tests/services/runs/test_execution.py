"""A provider that repeats the key it was sent: nothing of it is stored or shown."""

from webapp.drivers.core.base import ChatReply
from webapp.services.runs.execution import cleared, without_key

KEY = "sk-CANARY-0123456789abcdef"


def test_a_key_in_the_answer_or_its_request_id_is_blacked_out():
    reply = without_key(ChatReply(f"Bearer {KEY} is fine", "stop", None, None, KEY, 200, 5, 1), KEY)
    assert KEY not in repr(reply)
    assert (reply.text, reply.request_id) == ("Bearer *** is fine", "***")


def test_the_request_id_of_a_failure_iscleared_as_well():
    assert cleared(f"req-{KEY}", KEY) == "req-***"
