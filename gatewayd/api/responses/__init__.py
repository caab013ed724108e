"""Records as the wire shows them, and the responses that carry them."""
