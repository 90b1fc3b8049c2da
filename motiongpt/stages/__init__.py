"""Training in stages: recipes list them, a run folder holds their results, and one loop trains them all."""
