"""Training programs, one per lifter family, and the motion and cameras they learn from."""
