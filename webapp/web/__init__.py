"""Web code shared by the pages, the API and the admin: authentication, request guards, errors and headers."""
