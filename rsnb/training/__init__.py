"""What trainings share: devices today; loops, checkpoints and resuming come with the rooms that need them."""
