"""Use cases. They change the session and write the audit row; they never commit and never see a request."""
