"""The fast forms of formulas whose plain form stands where they are used, or is in their file.

Each computes the same as its plain form, and tests compare the two. Nobody has to read them to understand the models.
"""
