"""The identity provider (OpenID Connect). It is no driver of a vendor, but uses the same HTTP client."""
