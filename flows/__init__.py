"""What happens, in which order; one story per file."""
