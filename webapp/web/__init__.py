"""What pages, API and admin share: who is asking, one commit, errors, headers."""
