"""Training: recipes, tasks that yield their losses in turns, one loop, checkpoints."""
