"""The web server: granian behind a supervisor that starts, restarts and ends the worker processes (docs/adr/0027)."""
