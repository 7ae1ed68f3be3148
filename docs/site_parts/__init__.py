"""The parts of the site's build that Sphinx and its extensions lack."""
