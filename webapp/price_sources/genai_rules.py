"""Reviewed rules for genai-prices models: skipped records, names, limits, types and capabilities."""

import re
from datetime import date

EPOCH = date(1970, 1, 1)

# Records that do not become models, by vendor: (pattern of the full id, reason).
SKIPPED: dict[str, tuple[tuple[str, str], ...]] = {
    "openai": (
        (r"ft:.*|.*\.ft-", "fine-tuned models, whose names each customer makes"),
        (r".*:extended|gpt-5-image(-mini)?", "another seller's name"),
        (
            r"ada|babbage|curie|davinci|text-davinci-00[23]|gpt-3\.5-0301|gpt-3\.5-turbo-(0613|16k)|gpt-4-32k|gpt-4-vision-preview"
            r"|gpt-4\.5-preview|o1-(mini|preview)",
            "retired",
        ),
        (r"moderation", "a family of free classifiers, for which there is no model type"),
    ),
    "deepseek": ((r"deepseek-v3.*", "another seller's names"),),
    "anthropic": ((r"claude-v1|claude-2", "retired"),),
    "google": (
        (r"claude-.*|.*-maas", "sold by Vertex AI, not by the Gemini API"),
        (r"gemini-(1\..*|pro|pro-1\.5|flash-1\.5.*)", "retired"),
        (r"gemini-2\.5-flash-preview", "a retired preview under several names"),
        (r"gemma-3n?", "a family, not a name that can be called"),
    ),
    "mistral": (
        (r".*:free", "another seller's name"),
        (r"mistral-medium-2312|mixtral-8x(22b-instruct|7b)|mistral-7b", "retired"),
        (r"mistral-small-24b-instruct-2501", "another seller's price"),
        (r"magistral-.*", "a family with several versions, all deprecated"),
    ),
}

# The names that the vendor's API accepts, if the source's id is another spelling or a family.
RENAMED = {
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-3-5-sonnet": "claude-3-5-sonnet-20241022",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-3-opus-latest": "claude-3-opus",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "codex-mini": "codex-mini-latest",
    "computer-use": "computer-use-preview",
    "gpt-5.3": "gpt-5.3-chat-latest",
    "gpt-chat-latest": "chat-latest",
    "codestral": "codestral-2501",
    "devstral-small": "devstral-small-2507",
    "ministral-8b": "ministral-8b-2410",
    "mistral-large": "mistral-large-2411",
    "mistral-medium-3-1": "mistral-medium-2508",
    "mistral-medium-3-5": "mistral-medium-2604",
    "mistral-nemo": "open-mistral-nemo",
    "pixtral-large": "pixtral-large-2411",
    "mistral-small-3.2-24b-instruct": "mistral-small-2506",
}

# Exact names that the source lists under another model because the price is the same. They are separate models: a call to one must not
# reach the other.
OWN_MODELS = frozenset(
    {
        "gpt-4o-mini-search-preview",
        "gpt-4o-transcribe-diarize",
        "gpt-5-codex",
        "gpt-5-chat-latest",
        "gpt-5.1-codex",
        "gpt-5.1-codex-max",
        "gpt-5.1-chat-latest",
        "gpt-5.2-codex",
        "gpt-5.2-chat-latest",
        "gpt-5.5-codex",
        "gpt-5.5-chat-latest",
        "gpt-audio-1.5",
        "gpt-realtime-1.5",
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
        "grok-4.20-0309-non-reasoning",
        "labs-devstral-small-2512",
    }
)

# Exact names that denote a setting of a model, or a fixed version under a moving name.
NO_ALIASES = frozenset({"o3-mini-high", "o4-mini-high", "grok-voice-3.0"})

# Names from the design documents, the agreed cases and the vendors' lists that the source matches by prefix only. A manual review found
# the same model at the same price.
REVIEWED_NAMES = {
    "claude-opus-4-20250514": ["claude-opus-4-0"],
    "claude-sonnet-4-20250514": ["claude-sonnet-4-0"],
    "claude-3-opus": ["claude-3-opus-20240229"],
    "claude-3-haiku": ["claude-3-haiku-20240307"],
    "claude-3-sonnet": ["claude-3-sonnet-20240229"],
    "claude-haiku-4-5": ["claude-haiku-4-5-20251001"],
    "claude-opus-4-1": ["claude-opus-4-1-20250805"],
    "claude-opus-4-5": ["claude-opus-4-5-20251101"],
    "claude-opus-4-6": ["claude-opus-4-6-20260205"],
    "claude-sonnet-4-5": ["claude-sonnet-4-5-20250929"],
    "computer-use-preview": ["computer-use-preview-2025-03-11"],
    "gpt-4o-audio-preview": ["gpt-4o-audio-preview-2024-12-17", "gpt-4o-audio-preview-2025-06-03"],
    "gpt-4o-mini-audio-preview": ["gpt-4o-mini-audio-preview-2024-12-17"],
    "gpt-4o-mini-realtime-preview": ["gpt-4o-mini-realtime-preview-2024-12-17"],
}

DISPLAY_NAMES = {
    "claude-3-opus": "Claude 3 Opus",
    "claude-3-haiku": "Claude 3 Haiku",
    "claude-3-5-sonnet-20241022": "Claude 3.5 Sonnet",
    "claude-3-5-haiku-20241022": "Claude 3.5 Haiku",
    "claude-3-7-sonnet-20250219": "Claude 3.7 Sonnet",
    "deepseek-reasoner": "DeepSeek R1",
    "gemini-embedding-001": "Gemini Embedding 001",
    "computer-use-preview": "Computer Use Preview",
}

# Context windows and maximum output tokens that the source lacks and the vendor's documentation states clearly.
CONTEXT_WINDOWS = {"grok-beta": 131072, "grok-vision-beta": 8192, "gemini-2.5-pro": 1048576, "llama3.2": 131072}
MAX_OUTPUT_TOKENS = {
    "gpt-4o-mini": 16384,
    "gpt-4o": 16384,
    "gpt-4.1": 32768,
    "gpt-4.1-mini": 32768,
    "gpt-4.1-nano": 32768,
    "gpt-5": 128000,
    "gpt-5-mini": 128000,
    "gpt-5-nano": 128000,
    "gpt-5.1": 128000,
    "gpt-5.2": 128000,
    "gpt-4-turbo": 4096,
    "gpt-3.5-turbo": 4096,
    "o1": 100000,
    "o3": 100000,
    "o3-mini": 100000,
    "o4-mini": 100000,
    "claude-3-opus": 4096,
    "claude-3-sonnet": 4096,
    "claude-3-haiku": 4096,
    "claude-3-5-sonnet-20241022": 8192,
    "claude-3-5-haiku-20241022": 8192,
    "claude-sonnet-4-20250514": 64000,
    "claude-opus-4-20250514": 32000,
    "claude-opus-4-1": 32000,
    "gemini-2.0-flash": 8192,
    "gemini-2.5-pro": 65536,
    "gemini-2.5-flash": 65536,
    "gemini-2.5-flash-lite": 65536,
    "grok-beta": 4096,
    "grok-vision-beta": 4096,
}

# The first pattern that occurs in the id decides. The default is text.
TYPE_PATTERNS = (
    ("embed", "embedding"),
    ("tts", "text_to_speech"),
    ("transcribe|whisper|voxtral-mini", "speech_to_text"),
    ("image|nano-banana|dall-e", "image"),
    ("omni", "video"),
    ("realtime|audio|live|voice", "audio"),
    ("", "text"),
)

BASIC = "chat streaming system_prompt"
FULL = f"{BASIC} code json_mode tools"
CAPABILITIES_BY_TYPE = {
    "embedding": "embedding",
    "text_to_speech": "audio",
    "speech_to_text": "audio",
    "image": "image",
    "video": "",
    "audio": "audio streaming",
}
# For text models, the first pattern that matches the ref decides. Capabilities that neither the source nor the vendor states are omitted.
CAPABILITY_PATTERNS = (
    (r"openai/(babbage|davinci|gpt-3\.5-turbo-instruct)", ""),
    (r"openai/gpt-3\.5", FULL),
    (r"openai/gpt-4$", f"{BASIC} code tools"),
    (r"openai/.*(search|deep-research|computer-use)", "chat streaming"),
    (r"openai/(o1|o3|o4)-?(pro)?$", f"{FULL} reasoning vision"),
    (r"openai/o3-mini", f"{FULL} reasoning"),
    (r"openai/o4-mini", f"{FULL} reasoning vision"),
    (r"openai/.*chat", f"{FULL} vision"),
    (r"openai/codex", f"{FULL} reasoning"),
    (r"openai/gpt-[56]", f"{FULL} reasoning vision"),
    (r"openai/gpt-.*rosalind", BASIC),
    (r"openai/gpt-4", f"{FULL} vision"),
    (r"anthropic/claude-3-(opus|sonnet|haiku|5)", f"{BASIC} code tools vision"),
    (r"anthropic/", f"{BASIC} code reasoning tools vision"),
    (r"google/gemma", "chat streaming"),
    (r"google/gemini-robotics", "chat reasoning vision"),
    (r"google/gemini-2\.0", f"{FULL} vision"),
    (r"google/", f"{FULL} reasoning vision"),
    (r"mistral/mistral-ocr", "vision"),
    (r"mistral/(zai|deepseek)", BASIC),
    (r"mistral/(codestral|devstral|labs)", FULL),
    (r"mistral/pixtral|mistral/mistral-(medium|large-(2512|4))", f"{FULL} vision"),
    (r"mistral/mistral-small-(2506|2603|latest)", f"{FULL} vision"),
    (r"mistral/voxtral", "audio chat streaming"),
    (r"mistral/mistral-tiny", BASIC),
    (r"mistral/", f"{BASIC} json_mode tools"),
    (r"xai/.*vision", f"{BASIC} vision"),
    (r"xai/grok-beta", f"{BASIC} code tools"),
    (r"xai/grok-[23](-fast|-1212)?$", FULL),
    (r"xai/grok-3-mini|xai/grok-(code|build)", f"{FULL} reasoning"),
    (r"xai/.*non-reasoning", f"{FULL} vision"),
    (r"xai/grok-4", f"{FULL} reasoning vision"),
    (r"deepseek/deepseek-reasoner", f"{BASIC} code reasoning"),
    (r"deepseek/deepseek-chat", FULL),
    (r"deepseek/deepseek-flash", f"{FULL} reasoning vision"),
    (r"deepseek/", f"{FULL} reasoning"),
    (r"ollama/", f"{BASIC} tools"),
)

# Free according to the source's comment. The price of any other record without rates is unknown.
FREE_MODELS = frozenset({"gemma-4-26b-a4b-it", "gemma-4-31b-it"})

# Peak hours apply from Monday to Friday only. The source says so in comments but cannot express it. Model -> first day.
WEEKDAYS_FROM = {"deepseek-flash": EPOCH, "deepseek-v4-flash": EPOCH, "deepseek-v4-pro": date(2026, 8, 23)}
WEEKDAYS_NOTE = "Peak hours are left out at weekends, as the vendor bills; on Chinese public holidays the peak rates are too high."

# Dated prices with known off-peak rates only, according to the source's comment. No rate is known for the peak hours.
PEAK_UNKNOWN = {("deepseek-v4-flash", date(2026, 8, 17)): (("04:00", "06:00"), ("10:00", "01:00"))}
PEAK_UNKNOWN_NOTE = "The peak rates of this time (01:00-04:00 and 06:00-10:00 UTC) are not in the source and therefore missing."


def type_of(model_id: str) -> str:
    return next(kind for pattern, kind in TYPE_PATTERNS if re.search(pattern, model_id))


def only_output_medium(model_id: str) -> str | None:
    """Return the medium of a model that gives nothing else, or None: OpenAI's image models and models of speech."""
    if model_id.startswith("gpt-image-"):
        return "image"
    return "audio" if type_of(model_id) == "text_to_speech" else None


def capabilities_of(ref: str, kind: str) -> list[str]:
    names = (
        CAPABILITIES_BY_TYPE[kind]
        if kind in CAPABILITIES_BY_TYPE
        else next((listed for pattern, listed in CAPABILITY_PATTERNS if re.match(pattern, ref)), "")
    )
    return sorted(names.split())


def skip_reason(vendor: str, model_id: str, comments: str) -> str | None:
    if comments.startswith("Imported from OpenRouter") and "Verified against" not in comments:
        return "another seller's price (imported from OpenRouter)"
    return next((reason for pattern, reason in SKIPPED.get(vendor, ()) if re.fullmatch(pattern, model_id)), None)
