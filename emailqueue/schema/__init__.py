"""Which types a field of a context or a payload can have."""
