"""One view of all metrics: what is read from each cluster, what is written to the store, what is proved about it. Pure."""
