"""WordPress's own URLs, by which its clients find the API, test a login, and get a password."""
