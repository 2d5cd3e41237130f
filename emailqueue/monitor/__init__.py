"""The statistics in the admin: one look at Redis, a few at the database, and nothing that changes either."""
