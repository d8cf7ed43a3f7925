"""What all drivers share: contracts, connections, the one outbound HTTP client, shared clients and failures."""
