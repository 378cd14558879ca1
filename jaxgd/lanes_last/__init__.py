"""A function of one lane evaluated for many, with the lane axis last in every array."""
