"""Selection of the model that runs an incident, and the step that decided it.

Order: an explicit ref, the template's preferred model, the primary provider's model, the environment (`OPENAI_API_KEY`), the built-in
rules. Without a primary provider, the built-in rules run unless the template or the environment names a model.
"""

from dataclasses import dataclass, replace

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import resolve
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.domain.shared.errors import AmbiguousModel, Conflict, UnknownModel

ENVIRONMENT_DRIVER, ENVIRONMENT_ORIGIN = "openai", "https://api.openai.com"
ENVIRONMENT_KEY, ENVIRONMENT_MODEL = "OPENAI_API_KEY", "OPENAI_MODEL"
DEFAULT_ENVIRONMENT_MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Choice:
    """The selected model or rules. `model` is None for the built-in rules and for an environment model that is not in the registry.

    `explicit` means that the caller requested exactly this model, so nothing can replace it.
    """

    decided_by: str
    driver: str
    model: ModelInfo | None = None
    provider: str | None = None
    upstream_model: str | None = None
    explicit: bool = False
    note: str | None = None  # A skipped model and the reason.


LOCAL = Choice("local rules", "local")


def choose(snapshot: Snapshot, ref: str | None, environment: EnvironmentKeys, preferred: str | None = None) -> Choice:
    """Return the model to run. Raises `UnknownModel` or `AmbiguousModel` for the ref, `Conflict` if its model is unusable.

    `preferred` is the template's model. If it is unusable it is skipped with a note, so that the incident can still be analyzed.
    """
    if ref is not None:
        model = resolve(snapshot.names, ref)
        if problem := _model_problem(model):
            raise Conflict(problem, code="unsupported_model")
        return _choice_of(snapshot, model, "explicit ref", explicit=True)
    if preferred is None:
        return _choose_default(snapshot, environment)
    try:
        model = resolve(snapshot.names, preferred)
        problem = _model_problem(model)
    except (UnknownModel, AmbiguousModel) as error:
        problem = error.detail
    if not problem:
        return _choice_of(snapshot, model, "template")
    return replace(_choose_default(snapshot, environment), note=f"The template prefers {preferred}, which was passed over. {problem}")


def _model_problem(model: ModelInfo) -> str | None:
    if not model.supported:
        return f"{model.ref} cannot run: it is {(model.unsupported_because or '').replace('_', ' ')}."
    return f"{model.ref} is of type {model.type}; incidents need a text model." if model.type != "text" else None


def _choose_default(snapshot: Snapshot, environment: EnvironmentKeys) -> Choice:
    """Return the default choice: the primary provider's model, the default, the environment's model, or the built-in rules."""
    if snapshot.primary is not None and snapshot.primary.active:
        primary_model = _text_model_of(snapshot, snapshot.primary.slug)
        if primary_model is not None:
            return _choice_of(snapshot, primary_model, "primary provider")
        default = snapshot.defaults.get("text")
        if default is not None and default.supported:
            return _choice_of(snapshot, default, "default text model")
    return _choice_of_environment(snapshot, environment) or LOCAL


def _choice_of(snapshot: Snapshot, model: ModelInfo, decided_by: str, *, explicit: bool = False) -> Choice:
    driver = snapshot.providers[model.provider].driver
    return Choice(decided_by, driver, model, model.provider, model.model_id, explicit)


def _text_model_of(snapshot: Snapshot, slug: str) -> ModelInfo | None:
    """Return a provider's default text model: the default of the type if it is the provider's, else its first in display order."""
    default = snapshot.defaults.get("text")
    if default is not None and default.provider == slug and default.supported:
        return default
    return next((model for model in snapshot.by_provider.get(slug, ()) if model.type == "text" and model.supported), None)


def _choice_of_environment(snapshot: Snapshot, environment: EnvironmentKeys) -> Choice | None:
    if environment.first_usable((ENVIRONMENT_KEY,), ENVIRONMENT_ORIGIN) is None:
        return None
    name = environment.value_of(ENVIRONMENT_MODEL) or DEFAULT_ENVIRONMENT_MODEL
    known = snapshot.names.refs.get(f"openai/{name}")
    return Choice("environment", ENVIRONMENT_DRIVER, known, None, name)
