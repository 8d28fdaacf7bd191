"""Lifters that learn from single 2D poses: the projection GAN of Kudo et al. 2018 and what goes beyond it.

Each program has a `Config` and `train(config, data, held_out, out, resume, progress)` on sets of poses, and writes a
lifter of the layout `root-spread`.
"""
