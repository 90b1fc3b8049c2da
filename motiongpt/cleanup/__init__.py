"""Joints as a decoder writes them, made those of a body that stands on a floor: rigid bones, no jitter, firm feet."""
