"""The table of routes: what is served is what is described, because both are made of this."""

from webapp.api.v1.catalog import models, providers, registry_views
from webapp.api.v1.catalog.model_list import MODELS_QUERY
from webapp.api.v1.catalog.providers import PROVIDERS_QUERY
from webapp.api.v1.catalog.registry_views import EXPLAIN_QUERY, SUPPORTED_QUERY
from webapp.api.v1.core.authorization import Route
from webapp.api.v1.core.openapi_views import documentation_routes
from webapp.api.v1.pricing import costs
from webapp.api.v1.pricing.costs import COST_QUERY
from webapp.api.v1.runs import runs
from webapp.api.v1.transfer import registry_files
from webapp.api.v1.transfer.registry_files import EXPORT_QUERY, IMPORT_QUERY
from webapp.api.v1.usage import records
from webapp.api.v1.usage.records import SUMMARY_QUERY
from webapp.domain.accounts.permissions import Permission

READ, WRITE, KEYS, RUN = (Permission.REGISTRY_READ, Permission.REGISTRY_WRITE, Permission.CREDENTIALS_WRITE, Permission.RUNS_WRITE)
REF_ERRORS = (404, 409)  # A ref that leads nowhere, or to several models.
CHANGE_ERRORS = (404, 409, 412, 422, 503)
MODELS, ONE_MODEL = "/admin/models", "/admin/models/<number>"
PROVIDERS, ONE_PROVIDER = "/admin/providers", "/admin/providers/<number>"

_registry_routes = (
    Route(
        "GET",
        "/models",
        registry_views.list_models,
        READ,
        "Lists models, filtered, sorted and page by page",
        "ModelPage",
        query=MODELS_QUERY,
    ),
    Route(
        "GET",
        "/models/<path:ref>",
        registry_views.get_model,
        READ,
        "One model, by ref, alias or bare model id",
        "Model",
        error_statuses=REF_ERRORS,
    ),
    Route(
        "GET",
        "/supported",
        registry_views.get_supported,
        READ,
        "Whether a model may be used, and why not",
        "Supported",
        query=SUPPORTED_QUERY,
    ),
    Route("GET", "/defaults", registry_views.list_defaults, READ, "The default model of each type", "Defaults"),
    Route(
        "GET", "/defaults/<model_type>", registry_views.get_default, READ, "The default model of one type", "Model", error_statuses=(404,)
    ),
    Route("GET", "/providers", registry_views.list_providers, READ, "Lists providers, without their keys", "ProviderList"),
    Route("GET", "/providers/<slug>", registry_views.get_provider, READ, "One provider, by slug", "Provider", error_statuses=(404,)),
    Route("GET", "/snapshot", registry_views.get_snapshot, READ, "The whole registry, for clients that compute locally", "Snapshot"),
    Route(
        "GET",
        "/explain",
        registry_views.get_explanation,
        READ,
        "How a name becomes a model and a price",
        "Explanation",
        query=EXPLAIN_QUERY,
    ),
)
_cost_and_run_routes = (
    Route("GET", "/cost", costs.get_cost, READ, "What a call costs", "Cost", query=COST_QUERY, error_statuses=(*REF_ERRORS, 422)),
    Route(
        "POST",
        "/cost",
        costs.post_cost,
        READ,
        "What a call costs, by any meters",
        "Cost",
        request_schema="CostRequest",
        error_statuses=(*REF_ERRORS, 422),
    ),
    Route(
        "POST",
        "/cost/batch",
        costs.post_costs,
        READ,
        "Up to 1,000 costs in order",
        "CostBatch",
        request_schema="CostBatchRequest",
        error_statuses=(422,),
    ),
    Route(
        "POST",
        "/quote",
        costs.post_quote,
        READ,
        "What a call would cost at a price of your own",
        "Cost",
        request_schema="QuoteRequest",
        error_statuses=(422,),
    ),
    Route(
        "POST",
        "/compare",
        costs.post_comparison,
        READ,
        "The same call on several models, cheapest first",
        "Comparison",
        request_schema="CompareRequest",
        error_statuses=(*REF_ERRORS, 422),
    ),
    Route(
        "POST",
        "/runs",
        runs.start_run,
        RUN,
        "Runs an incident, and answers when it is finished",
        "Run",
        201,
        request_schema="RunRequest",
        error_statuses=(404, 409, 422, 503),
    ),
    Route("GET", "/runs/<run_id>", runs.get_run, RUN, "A run that was recorded", "Run", error_statuses=(404, 503)),
)
_usage_routes = (
    Route(
        "POST",
        "/usage",
        records.report_usage,
        Permission.USAGE_WRITE,
        "Reports what a call used; counted once however often it is sent",
        "UsageRecord",
        201,
        request_schema="CostRequest",
        error_statuses=(*REF_ERRORS, 422, 503),
    ),
    Route(
        "GET",
        "/usage/summary",
        records.summarise_usage,
        Permission.USAGE_READ,
        "What was used and what it cost, by model, project, token or day",
        "UsageSummary",
        query=SUMMARY_QUERY,
        error_statuses=(*REF_ERRORS, 422, 503),
    ),
)
_model_routes = (
    Route("GET", MODELS, models.list_managed_models, WRITE, "Lists models for managing", "ModelPage", query=MODELS_QUERY),
    Route(
        "POST", MODELS, models.create_model, WRITE, "Adds a model", "Model", 201, request_schema="NewModel", error_statuses=(409, 422, 503)
    ),
    Route("GET", ONE_MODEL, models.get_managed_model, WRITE, "One model, by id", "Model", error_statuses=(404,)),
    Route(
        "PUT",
        ONE_MODEL,
        models.replace_model,
        WRITE,
        "Replaces a model's entry; what is left out gets its default",
        "Model",
        request_schema="NewModel",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "PATCH",
        ONE_MODEL,
        models.edit_model,
        WRITE,
        "Changes some fields of a model",
        "Model",
        request_schema="ModelChange",
        error_statuses=CHANGE_ERRORS,
    ),
    Route("DELETE", ONE_MODEL, models.delete_model, WRITE, "Deletes a model that nothing uses", "", 204, error_statuses=CHANGE_ERRORS),
    Route(
        "POST",
        f"{ONE_MODEL}/toggle-active",
        models.toggle_model,
        WRITE,
        "Activates or deactivates a model",
        "Model",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "POST",
        f"{ONE_MODEL}/set-default",
        models.set_default_model,
        WRITE,
        "Makes a model the default of its type",
        "Model",
        error_statuses=CHANGE_ERRORS,
    ),
    Route("GET", f"{ONE_MODEL}/prices", models.list_prices, WRITE, "A model's prices, oldest first", "PriceList", error_statuses=(404,)),
    Route(
        "POST",
        f"{ONE_MODEL}/prices",
        models.add_price,
        WRITE,
        "Adds a dated price",
        "Price",
        201,
        request_schema="NewPrice",
        error_statuses=(404, 409, 422, 503),
    ),
    Route(
        "POST",
        f"{ONE_MODEL}/prices/<price>/verify",
        models.verify_price,
        WRITE,
        "Writes down that somebody compared a price with its source and found it right",
        "Price",
        error_statuses=CHANGE_ERRORS,
    ),
)
_provider_routes = (
    Route(
        "GET",
        PROVIDERS,
        providers.list_managed_providers,
        WRITE,
        "Lists providers for managing",
        "ManagedProviderPage",
        query=PROVIDERS_QUERY,
    ),
    Route(
        "POST",
        PROVIDERS,
        providers.create_provider,
        WRITE,
        "Adds a provider",
        "ManagedProvider",
        201,
        request_schema="NewProvider",
        error_statuses=(409, 422, 503),
    ),
    Route(
        "DELETE",
        f"{PROVIDERS}/primary",
        providers.clear_primary_provider,
        WRITE,
        "No primary provider: local rules only",
        "",
        204,
        error_statuses=(503,),
    ),
    Route("GET", ONE_PROVIDER, providers.get_managed_provider, WRITE, "One provider, by id", "ManagedProvider", error_statuses=(404,)),
    Route(
        "PUT",
        ONE_PROVIDER,
        providers.replace_provider,
        WRITE,
        "Replaces a provider's entry; what is left out gets its default",
        "ManagedProvider",
        request_schema="NewProvider",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "PATCH",
        ONE_PROVIDER,
        providers.edit_provider,
        WRITE,
        "Changes some fields of a provider",
        "ManagedProvider",
        request_schema="ProviderChange",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "DELETE",
        ONE_PROVIDER,
        providers.delete_provider,
        WRITE,
        "Deletes a provider that nothing uses",
        "",
        204,
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "POST",
        f"{ONE_PROVIDER}/toggle-active",
        providers.toggle_provider,
        WRITE,
        "Activates or deactivates a provider",
        "ManagedProvider",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "POST",
        f"{ONE_PROVIDER}/set-primary",
        providers.set_primary_provider,
        WRITE,
        "Makes a provider the primary one",
        "ManagedProvider",
        error_statuses=CHANGE_ERRORS,
    ),
    Route(
        "PUT",
        f"{ONE_PROVIDER}/credential",
        providers.store_credential,
        KEYS,
        "Stores a provider's key, which is never shown again",
        "ManagedProvider",
        request_schema="NewCredential",
        error_statuses=(404, 422, 503),
    ),
    Route(
        "DELETE",
        f"{ONE_PROVIDER}/credential",
        providers.remove_credential,
        KEYS,
        "Removes a provider's key",
        "",
        204,
        error_statuses=(404, 503),
    ),
)
_file_routes = (
    Route(
        "GET",
        "/admin/export",
        registry_files.export_catalogue,
        WRITE,
        "The catalogue as a file; never keys",
        "CatalogueFile",
        query=EXPORT_QUERY,
    ),
    Route(
        "POST",
        "/admin/import",
        registry_files.import_catalogue,
        WRITE,
        "Brings the registry to what a file says, all or nothing, or says what would change",
        "Imported",
        query=IMPORT_QUERY,
        request_schema="CatalogueFile",
        error_statuses=(409, 422, 503),
    ),
)
_api_routes = (*_registry_routes, *_cost_and_run_routes, *_usage_routes, *_model_routes, *_provider_routes, *_file_routes)
ROUTES: tuple[Route, ...] = (*_api_routes, *documentation_routes(_api_routes))
