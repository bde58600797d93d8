"""Multi-cluster services (KEP-1645) as values: facts of one service in, wanted objects and writes out. Pure."""
