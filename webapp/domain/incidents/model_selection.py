"""Which model runs an incident, and which step of the order decided it.

The order: an explicit ref, the template's preferred model, the primary provider's model, the environment (`OPENAI_API_KEY`), the local
rules. Without a primary provider nobody has asked for a model, so the local rules answer unless the template or the environment names one.
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
    """What is to run. `model` is None for the local rules, and for a model of the environment that the registry does not know.

    `explicit` says that somebody asked for just this model: then nothing else may answer in its place.
    """

    decided_by: str
    driver: str
    model: ModelInfo | None = None
    provider: str | None = None
    upstream_model: str | None = None
    explicit: bool = False
    note: str | None = None  # What was passed over on the way, and why.


LOCAL = Choice("local rules", "local")


def choose(snapshot: Snapshot, ref: str | None, environment: EnvironmentKeys, preferred: str | None = None) -> Choice:
    """The model to run. Raises `UnknownModel` or `AmbiguousModel` for the ref, `Conflict` if its model is not to be used.

    `preferred` is the template's model. One that is not to be used is passed over, and the choice says so: an incident is no time to stop.
    """
    if ref is not None:
        model = resolve(snapshot.names, ref)
        if wrong := _model_problem(model):
            raise Conflict(wrong, code="unsupported_model")
        return _choice_of(snapshot, model, "explicit ref", explicit=True)
    if preferred is None:
        return _choose_default(snapshot, environment)
    try:
        model = resolve(snapshot.names, preferred)
        wrong = _model_problem(model)
    except (UnknownModel, AmbiguousModel) as error:
        wrong = error.detail
    if not wrong:
        return _choice_of(snapshot, model, "template")
    return replace(_choose_default(snapshot, environment), note=f"The template prefers {preferred}, which was passed over. {wrong}")


def _model_problem(model: ModelInfo) -> str | None:
    if not model.supported:
        return f"{model.ref} cannot run: it is {(model.unsupported_because or '').replace('_', ' ')}."
    return f"{model.ref} is of type {model.type}; incidents need a text model." if model.type != "text" else None


def _choose_default(snapshot: Snapshot, environment: EnvironmentKeys) -> Choice:
    """Where nobody named a model: the primary provider's, the default, the environment's, or the local rules."""
    if snapshot.primary is not None and snapshot.primary.active:
        model_of_primary = _text_model_of(snapshot, snapshot.primary.slug)
        if model_of_primary is not None:
            return _choice_of(snapshot, model_of_primary, "primary provider")
        default = snapshot.defaults.get("text")
        if default is not None and default.supported:
            return _choice_of(snapshot, default, "default text model")
    return _choice_of_environment(snapshot, environment) or LOCAL


def _choice_of(snapshot: Snapshot, model: ModelInfo, decided_by: str, *, explicit: bool = False) -> Choice:
    driver = snapshot.providers[model.provider].driver
    return Choice(decided_by, driver, model, model.provider, model.model_id, explicit)


def _text_model_of(snapshot: Snapshot, slug: str) -> ModelInfo | None:
    """A provider's own default: the default of its type if that is one of its models, else its first text model in display order."""
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
