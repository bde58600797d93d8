"""Who may be sent users: what is wanted as DNS records, what servers hold and answer, and what must never be written."""
