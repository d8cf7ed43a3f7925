"""What users are told about the part of a cost that is missing or assumed."""

import pytest
from factories import NOW, a_price, a_rate

from webapp.domain.pricing.cost_gaps import gaps_of, gaps_of_document
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.usage import Usage

REALTIME = a_price(
    a_rate("input", "4"),
    a_rate("cache_read", "0.4"),
    a_rate("input_audio", "32"),
    a_rate("cache_read_audio", "0.4"),
    a_rate("output", "16"),
)
TEXT_ONLY = a_price(a_rate("input", "4"), a_rate("cache_read", "0.4"), a_rate("output", "16"))
AUDIO_WRITES = a_price(a_rate("input", "1"), a_rate("cache_write", "1.25"), a_rate("input_audio", "8"))
IMAGES = a_price(a_rate("image", "0.167", 1, when=(("quality", "high"),)))


def gaps(price, tier="standard", **quantities):
    """Return the gaps of a cost, which are the same for its stored document."""
    usage = Usage(**quantities)
    cost = cost_of(price, usage, at=NOW, service_tier=tier)
    found = gaps_of(cost, usage)
    assert gaps_of_document(cost_document(cost), usage.document()) == found
    return found


def test_a_complete_cost_has_none():
    found = gaps(REALTIME, input=1000, input_audio=800, cache_read=200, cache_read_audio=200)
    assert (found.prefix, found.sentences()) == ("", [])


def test_an_overlap_that_is_not_stated_is_not_called_a_missing_rate():
    found = gaps(REALTIME, input=1000, input_audio=800, cache_read=200)
    assert found.prefix == "about "  # With the overlap, the call costs less: the amount is no lower bound.
    assert found.sentences() == [
        "It is not stated how many input tokens are audio read from cache: the smallest number that fits is counted. "
        "State it as cache_read_audio, also if it is 0."
    ]


def test_an_overlap_with_what_was_written_to_the_cache_is_named_by_its_medium():
    found = gaps(AUDIO_WRITES, input=1000, cache_write=500, input_audio=500)
    assert found.sentences() == [
        "It is not stated how many input tokens are audio written to the cache: the smallest number that fits is counted. "
        "No meter can state it."
    ]


def test_a_stated_overlap_without_a_rate_misses_a_rate():
    found = gaps(TEXT_ONLY, input=1000, input_audio=800, cache_read=200, cache_read_audio=200)
    assert found.prefix == "at least "
    assert found.sentences() == ["No rate is known for audio input, audio read from cache: the rest is counted."]


def test_rates_that_depend_on_attributes_name_them():
    assert gaps(IMAGES, image=2).missing_rates == "images (its rates depend on quality)"


@pytest.mark.parametrize("tier", ["batch", "fast", "scale"])
def test_a_tier_without_rates_says_whose_rates_are_used(tier):
    found = gaps(TEXT_ONLY, tier, input=10)
    assert (found.prefix, found.sentences()) == ("about ", [f"It has no {tier} rates: this is the cost at standard rates."])
