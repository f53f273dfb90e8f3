"""skinjax: hierarchical diagnosis of skin disease from clinical photos, in JAX. Not a medical device."""

__version__ = "0.1.0"
