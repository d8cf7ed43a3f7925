"""Shared code of all endpoints: authorization, strict JSON, parameters, responses, schemas and the OpenAPI document."""
