"""The human body: which joints a skeleton has, rotations, and SMPL body model files."""
