"""Role permissions, OpenID settings and weak secrets."""
