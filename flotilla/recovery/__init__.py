"""Disaster recovery, decided: from what is seen of three sites to a plan, and from the plan to the next move."""
