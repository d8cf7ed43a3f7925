"""What a question will cost, before it is asked: about, because only the provider counts its tokens."""

from dataclasses import dataclass

from webapp.domain.pricing.pricing import Cost, Price, cost_of
from webapp.domain.pricing.usage import Usage

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """About how many tokens go in, how many may come out, and the cost of the question alone and with the longest answer."""

    input: int
    max_output_tokens: int
    input_cost: Cost
    max_cost: Cost


def estimate_tokens(*texts: str) -> int:
    """A token is about four characters of English; rounded up."""
    return -(-sum(len(text) for text in texts) // CHARACTERS_PER_TOKEN)


def estimate(price: Price | None, tokens: int, longest: int) -> Estimate:
    """The estimate at this price."""
    question = cost_of(price, Usage(input=tokens), at=None)
    return Estimate(tokens, longest, question, cost_of(price, Usage(input=tokens, output=longest), at=None))
