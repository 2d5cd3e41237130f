"""What a worker does beside its jobs: inbox to rows, alerts, retention."""
