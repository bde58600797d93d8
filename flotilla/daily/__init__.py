"""The report of a day: what ran where, whether the others would hold a loss, what moved, and what of it nobody can know."""
