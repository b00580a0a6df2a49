"""Small changes to u2a's code that tests should notice: which there are, and what happens to them."""
