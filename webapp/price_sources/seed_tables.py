"""Reviewed tables of the seed: vendors, providers, models of the design documents, order and defaults."""

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
TOKEN_RATES_NOTE = " The vendor's rates per token are left out, because they would bill the same image a second time."
DOCUMENT_MODELS: tuple[tuple[str, str, str, str, tuple[tuple[str, str, int], ...], str], ...] = (
    ("openai", "dall-e-3", "DALL-E 3", "image", (("image", "0.04", 1),), IMAGE_NOTE),
    ("openai", "dall-e-2", "DALL-E 2", "image", (("image", "0.02", 1),), IMAGE_NOTE),
    ("openai", "gpt-image-1", "GPT Image 1", "image", (("image", "0.042", 1),), IMAGE_NOTE + TOKEN_RATES_NOTE),
    ("openai", "gpt-image-1-mini", "GPT Image 1 Mini", "image", (("image", "0.011", 1),), IMAGE_NOTE + TOKEN_RATES_NOTE),
    ("runware", "runware:97@1", "Runware 97@1", "image", (("image", "0.009", 1),), IMAGE_NOTE),
    ("xai", "grok-beta", "Grok Beta", "text", (("input", "5", 1_000_000), ("output", "15", 1_000_000)), ""),
    ("xai", "grok-vision-beta", "Grok Vision Beta", "text", (("input", "5", 1_000_000), ("output", "15", 1_000_000)), ""),
    ("ollama", "llama3.2", "Llama 3.2", "text", (), "Free on purpose: the model runs on your own machine."),
)

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
