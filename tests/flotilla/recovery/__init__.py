"""The pure core of recovery, and a model of the world that its plans are walked in."""
