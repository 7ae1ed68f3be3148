"""The mixture at given parameters: densities, posteriors, predictions; equations (10)-(12) and (17)."""
