"""Dashboards over all clusters: one panel model, three views of it, rules, and the checks of every expression. Pure."""
