"""Reviewed tables of the seed: vendors, providers, models of the design documents, order and defaults."""

from collections.abc import Mapping
from typing import Any

# The vendor id in genai-prices -> the provider slug. Only vendors whose own API is listed: other clouds sell their models at other prices.
VENDORS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "mistral": "mistral", "x-ai": "xai", "deepseek": "deepseek"}

PROVIDER_FIELDS = ("slug", "display_name", "driver", "base_url", "website", "documentation_url", "required_environment", "description")
PROVIDERS: tuple[tuple[Any, ...], ...] = (
    (
        "openai",
        "OpenAI",
        "openai",
        "https://api.openai.com/v1",
        "https://openai.com",
        "https://developers.openai.com/api/docs",
        ["OPENAI_API_KEY"],
        "GPT, o-series, image, speech and embedding models.",
    ),
    (
        "anthropic",
        "Anthropic",
        "claude",
        "https://api.anthropic.com",
        "https://www.anthropic.com",
        "https://platform.claude.com/docs",
        ["ANTHROPIC_API_KEY"],
        "Claude models over the Messages API.",
    ),
    (
        "google",
        "Google",
        "gemini",
        "https://generativelanguage.googleapis.com",
        "https://ai.google.dev",
        "https://ai.google.dev/gemini-api/docs",
        ["GEMINI_API_KEY"],
        "Gemini models over the Gemini API. Vertex AI is another seller with other prices and is not meant here.",
    ),
    (
        "mistral",
        "Mistral AI",
        "mistral",
        "https://api.mistral.ai",
        "https://mistral.ai",
        "https://docs.mistral.ai",
        ["MISTRAL_API_KEY"],
        "Mistral's own models, and some open models that Mistral hosts.",
    ),
    ("xai", "xAI", "grok", "https://api.x.ai/v1", "https://x.ai", "https://docs.x.ai", ["XAI_API_KEY"], "Grok models."),
    (
        "deepseek",
        "DeepSeek",
        "custom",
        "https://api.deepseek.com/v1",
        "https://www.deepseek.com",
        "https://api-docs.deepseek.com",
        ["DEEPSEEK_API_KEY"],
        "OpenAI-compatible API with prices by the hour of the day.",
    ),
    (
        "ollama",
        "Ollama",
        "ollama",
        "http://localhost:11434",
        "https://ollama.com",
        "https://docs.ollama.com",
        [],
        "Models that run on your own machines; no key and no price per token.",
    ),
    (
        "copilot",
        "GitHub Copilot",
        "copilot",
        "https://api.githubcopilot.com",
        "https://github.com/features/copilot",
        "https://docs.github.com/en/github-models",
        ["GITHUB_TOKEN"],
        "GitHub publishes no public contract for this API: it may change or refuse without notice. The supported alternative is GitHub "
        "Models at https://models.github.ai/inference with a token that may read models. "
        "No model is seeded; gpt-4o is the usual first one.",
    ),
    (
        "runware",
        "Runware",
        "custom",
        "https://api.runware.ai/v1",
        "https://runware.ai",
        "https://runware.ai/docs",
        ["RUNWARE_API_KEY"],
        "Image generation, priced per image.",
    ),
)

# Models of the design documents that genai-prices lacks or prices in another unit:
# (provider, model id, display name, type, rates as (meter, amount, per), note).
IMAGE_NOTE = "Per image, as the design document has it: size and quality are not distinguished."
DOCUMENT_MODELS: tuple[tuple[str, str, str, str, tuple[tuple[str, str, int], ...], str], ...] = (
    ("openai", "dall-e-3", "DALL-E 3", "image", (("image", "0.04", 1),), IMAGE_NOTE),
    ("openai", "dall-e-2", "DALL-E 2", "image", (("image", "0.02", 1),), IMAGE_NOTE),
    ("runware", "runware:97@1", "Runware 97@1", "image", (("image", "0.009", 1),), IMAGE_NOTE),
    ("xai", "grok-beta", "Grok Beta", "text", (("input", "5", 1_000_000), ("output", "15", 1_000_000)), ""),
    ("xai", "grok-vision-beta", "Grok Vision Beta", "text", (("input", "5", 1_000_000), ("output", "15", 1_000_000)), ""),
    ("ollama", "llama3.2", "Llama 3.2", "text", (), "Free on purpose: the model runs on your own machine."),
)

# Prices per image of models that genai-prices prices by token: (amount, conditions). The first one is that of the design documents, the
# others are those of LiteLLM's map. A call with counted images and without tokens has this price.
IMAGES: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    "gpt-image-1": (
        ("0.042", {}),
        ("0.011", {"quality": "low"}),
        ("0.016", {"quality": "low", "size": "1024x1536"}),
        ("0.016", {"quality": "low", "size": "1536x1024"}),
        ("0.042", {"quality": "medium"}),
        ("0.063", {"quality": "medium", "size": "1024x1536"}),
        ("0.063", {"quality": "medium", "size": "1536x1024"}),
        ("0.167", {"quality": "high"}),
        ("0.25", {"quality": "high", "size": "1024x1536"}),
        ("0.25", {"quality": "high", "size": "1536x1024"}),
    ),
    "gpt-image-1-mini": (
        ("0.011", {}),
        ("0.005", {"quality": "low"}),
        ("0.006", {"quality": "low", "size": "1024x1536"}),
        ("0.006", {"quality": "low", "size": "1536x1024"}),
        ("0.011", {"quality": "medium"}),
        ("0.015", {"quality": "medium", "size": "1024x1536"}),
        ("0.015", {"quality": "medium", "size": "1536x1024"}),
    ),
}
IMAGES_NOTE = "Per token, or per image where only images are counted: never send both for one call."

# The twelve models of the second design document come first, in its order. All other models follow in the order of the source.
FIRST_MODELS = (
    "openai/gpt-4o-mini",
    "openai/gpt-4o",
    "openai/gpt-4.1",
    "openai/gpt-5.1",
    "openai/gpt-5.2",
    "anthropic/claude-3-sonnet",
    "anthropic/claude-3-opus",
    "anthropic/claude-3-haiku",
    "openai/dall-e-3",
    "openai/dall-e-2",
    "openai/gpt-image-1",
    "runware/runware:97@1",
)
DEFAULT_MODELS = frozenset({"openai/gpt-4o-mini", "openai/dall-e-3"})
