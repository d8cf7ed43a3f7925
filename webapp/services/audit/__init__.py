"""The audit log: a row for every change, and a bounded number of rows for denied requests."""
