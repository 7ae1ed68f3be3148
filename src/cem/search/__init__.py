"""The search for a good optimum: starting points of EM, and which of them continue."""
