"""What a fit does not know: the law of its parameters, and tests of the number of modes."""
