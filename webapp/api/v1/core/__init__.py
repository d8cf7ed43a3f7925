"""What all endpoints share: authorization, strict JSON, parameters, responses, schemas and the OpenAPI document."""
