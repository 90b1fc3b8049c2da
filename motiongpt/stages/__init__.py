"""Training in stages: recipes say which, a run folder holds what they learnt, each hands its work to the one loop."""
