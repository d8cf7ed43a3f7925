"""The route table. Both the served endpoints and the OpenAPI document come from it."""

from webapp.api.v1.catalog import registry_views
from webapp.api.v1.catalog.management_routes import MODEL_ROUTES, PROVIDER_ROUTES
from webapp.api.v1.catalog.model_list import MODELS_QUERY
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
REF_ERRORS = (404, 409)  # An unknown or ambiguous ref.

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
    Route(
        "GET",
        "/cost",
        costs.get_cost,
        READ,
        "What a call costs, by tokens and images",
        "Cost",
        query=COST_QUERY,
        error_statuses=(*REF_ERRORS, 422),
    ),
    Route(
        "POST",
        "/cost",
        costs.post_cost,
        READ,
        "What a call costs, by any meters and attributes",
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
_api_routes = (*_registry_routes, *_cost_and_run_routes, *_usage_routes, *MODEL_ROUTES, *PROVIDER_ROUTES, *_file_routes)
ROUTES: tuple[Route, ...] = (*_api_routes, *documentation_routes(_api_routes))
