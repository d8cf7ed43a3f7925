"""Vendors' and gateways' decoration of model names, such as `us.anthropic.claude-sonnet-4-5-20250929-v1:0`.

Names without decoration are for suggestions only. A regional or fine-tuned model can have another price than the plain one.
"""

import re
from collections.abc import Mapping, Sequence

FINE_TUNE = re.compile(r"(?:.*/)?(ft:([^:/]+)).*", re.ASCII)
OLD_FINE_TUNE = re.compile(r"(?:.*/)?([^:/]+)[.:]ft-.*", re.ASCII)
# Each rule removes one kind of decoration. They apply in this order, each to the result of the rules before.
RULES: Sequence[tuple[re.Pattern[str], str]] = (
    (FINE_TUNE, r"\1"),
    (FINE_TUNE, r"\2"),
    (OLD_FINE_TUNE, r"\1"),
    (re.compile(r"(?<=.)@(?=20[0-9]{6}$)", re.ASCII), "-"),  # a date: @20250929
    (re.compile(r"(?<=[^/])@[^@/]*$", re.ASCII), ""),  # @default, @001
    (re.compile(r"(?<=[^/]):[^:/]*$", re.ASCII), ""),  # :free, :beta, :0
    (re.compile(r"(?<=[^/]):[^:/]*$", re.ASCII), ""),  # the size before it: -v1:0:200k
    (re.compile(r"-v[0-9]{1,2}$", re.ASCII), ""),
    *[(re.compile(r"^[^/]*/+(?=.)", re.ASCII), "")] * 8,  # providers, gateways and paths, one at a time
    *[(re.compile(r"^[a-z]{2,20}(?:-[a-z]{2,20})?\.(?=[a-z])", re.ASCII), "")] * 3,  # us. and anthropic.
    (re.compile(r"-20[0-9]{2}-?[01][0-9]-?[0-3][0-9]$", re.ASCII), ""),
)
# Other spellings of a provider that share no letters with its slug.
PROVIDER_FAMILIES: Mapping[str, str] = {"gemini": "google", "vertex": "google", "azure": "openai", "claude": "anthropic", "grok": "xai"}
VERSION_DOT = re.compile(r"(?<=[0-9])\.(?=[0-9])", re.ASCII)
VERSION_DASH = re.compile(r"(?<=[0-9])-(?=[0-9](?![0-9]))", re.ASCII)
FINE_TUNE_HINT = "A fine-tuned model has a price of its own: add it as a model, or as an alias of a model with the same price."


def plain_forms(name: str) -> list[str]:
    """Return the name in lower case, and the names that remain as decoration is removed, in this order."""
    forms = [name.strip().lower()]
    for pattern, replacement in RULES:
        plainer = pattern.sub(replacement, forms[-1], count=1)
        if plainer != forms[-1]:
            forms.append(plainer)
    return [form for form in forms if form]


def version_spellings(name: str) -> list[str]:
    """Return the name with a dash and with a dot in its version: `claude-3-5-sonnet` and `claude-3.5-sonnet`."""
    return list(dict.fromkeys((name, VERSION_DOT.sub("-", name), VERSION_DASH.sub(".", name))))


def provider_likeness(ref: str, provider: str) -> int:
    """Return 2 if the ref names the provider in some spelling (`x-ai` for `xai`), 1 if it names its family, else 0."""
    words = re.sub(r"[^a-z0-9/.:]", "", ref.lower())
    if re.sub(r"[^a-z0-9]", "", provider) in words:
        return 2
    return int(any(spelling in words and family == provider for spelling, family in PROVIDER_FAMILIES.items()))


def fine_tune_hint(ref: str) -> str:
    """Return a sentence about the prices of fine-tuned models if the ref names one, else an empty text."""
    name = ref[:300].lower()
    return FINE_TUNE_HINT if FINE_TUNE.fullmatch(name) or OLD_FINE_TUNE.fullmatch(name) else ""
