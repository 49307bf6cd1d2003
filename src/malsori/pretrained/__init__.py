"""Models as folders, built in, on disk or on the hub; and other people's checkpoints opened as ours."""
