"""What a site agent decides about its node's PostgreSQL, without touching it: files rendered, outputs parsed, rules."""
