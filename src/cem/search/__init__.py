"""Where EM starts, and which start goes on."""
