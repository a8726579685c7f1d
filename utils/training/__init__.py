"""Steps, checkpoints and processes of a training run."""
