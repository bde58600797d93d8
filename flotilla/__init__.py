"""What is so and what should be done about it: pure. No Prefect, no kubernetes, no I/O, no clock, no randomness."""
