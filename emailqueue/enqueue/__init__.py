"""How a valid call becomes a job and reaches Redis."""
