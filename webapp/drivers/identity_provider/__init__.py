"""Client of the identity provider (OpenID Connect). It is not a vendor driver, but uses the same HTTP client."""
