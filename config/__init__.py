"""The example project: runs emailqueue and events, configured by the environment alone."""
