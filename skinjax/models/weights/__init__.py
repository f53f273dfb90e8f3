"""Weight files: their formats, the names of their arrays, and which variable each array is."""
