"""The training stages: recipes, run folders, and what each stage hands to the loop."""
