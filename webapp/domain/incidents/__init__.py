"""Incidents: parsing, samples, prompt templates, the schema of answers, model selection and evaluations."""
