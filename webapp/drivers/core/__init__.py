"""Shared code of all drivers: contracts, connections, the only outbound HTTP client, shared clients and failures."""
