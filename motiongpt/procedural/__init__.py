"""Motions from nothing: footsteps, curves and inverse kinematics, with captions."""
