"""Floor 3: from a run's folder to a function that predicts, and from photos to answers."""
