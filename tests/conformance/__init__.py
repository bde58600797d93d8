"""Upstream's conformance suite of the Multi-Cluster Services API, run against the lab with Flotilla's keeper."""
