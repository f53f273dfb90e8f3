"""Floor 2: losses, schedules, optimisers, the training step, checkpoints and the loop over epochs."""
