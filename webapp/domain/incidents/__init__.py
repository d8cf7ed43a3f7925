"""Incidents: parsing, samples, prompt templates, the response schema, model selection and evaluations."""
