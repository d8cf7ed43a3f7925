"""Tests that a key repeated by a provider is neither stored nor shown."""

from webapp.drivers.core.base import ChatReply
from webapp.services.runs.execution import redact_key, redact_reply

KEY = "sk-CANARY-0123456789abcdef"


def test_a_key_in_the_answer_or_its_request_id_is_blacked_out():
    reply = redact_reply(ChatReply(f"Bearer {KEY} is fine", "stop", None, None, KEY, 200, 5, 1), KEY)
    assert KEY not in repr(reply)
    assert (reply.text, reply.request_id) == ("Bearer *** is fine", "***")


def test_the_request_id_of_a_failure_iscleared_as_well():
    assert redact_key(f"req-{KEY}", KEY) == "req-***"
