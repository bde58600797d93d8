"""One effect per function, one outside system per file; the outside world parsed into flotilla's facts."""
