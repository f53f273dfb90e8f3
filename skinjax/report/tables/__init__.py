"""Tables: frames computed from stored predictions, each also written as CSV."""
