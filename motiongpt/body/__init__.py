"""The human body: skeletons, rotations, smoothing over time, and SMPL body model files."""
