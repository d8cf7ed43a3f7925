"""Cost estimates before a call. They are approximate, because only the provider counts the tokens."""

from dataclasses import dataclass

from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.usage import Usage

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """The approximate input tokens, the max output tokens, and the cost of the input alone and with the maximum output."""

    input: int
    max_output_tokens: int
    input_cost: Cost
    max_cost: Cost


def estimate_tokens(*texts: str) -> int:
    """Return the approximate number of tokens, rounded up. A token is about four characters of English."""
    return -(-sum(len(text) for text in texts) // CHARACTERS_PER_TOKEN)


def estimate(price: Price | None, tokens: int, max_output: int) -> Estimate:
    """Return the estimate at this price."""
    input_cost = cost_of(price, Usage(input=tokens), at=None)
    return Estimate(tokens, max_output, input_cost, cost_of(price, Usage(input=tokens, output=max_output), at=None))
