"""All figures of one moment, and how they are shown."""
