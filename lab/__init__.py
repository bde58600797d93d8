"""A fleet of three real Kubernetes clusters on this machine, for the demo, the tests and drills."""
