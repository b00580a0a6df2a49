"""One page from one encoding. Scores come from evaluation; values know nothing of drawing."""
