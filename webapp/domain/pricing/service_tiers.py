"""Service tiers: the words that prices and calls use, and those of vendors that mean the same."""

from collections.abc import Mapping

from webapp.domain.shared.errors import Invalid

STANDARD = "standard"
SERVICE_TIERS = (STANDARD, "batch", "flex", "priority", "fast", "scale")
TIER_LABELS: Mapping[str, str] = {
    STANDARD: "Standard",
    "batch": "Batch: answered within hours",
    "flex": "Flex: slower",
    "priority": "Priority: faster",
    "fast": "Fast: a faster mode of the model",
    "scale": "Scale: reserved capacity",
}
# What vendors call the standard tier in their responses.
TIER_SYNONYMS: Mapping[str, str] = {"default": STANDARD, "on_demand": STANDARD}


def parse_service_tier(value: object, field: str = "service_tier") -> str:
    """Return the service tier that this word names. Raises `Invalid`."""
    if value == "auto":
        message = "is `auto`, which asks the vendor to choose; name the tier that the response states, such as standard or priority"
        raise Invalid.field(field, message)
    tier = TIER_SYNONYMS.get(value, value) if isinstance(value, str) else None
    if tier not in SERVICE_TIERS:
        raise Invalid.field(field, f"must be one of {', '.join(SERVICE_TIERS)}")
    return tier
