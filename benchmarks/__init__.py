"""What was promised about speed, measured: each module is a command that prints its figures."""
