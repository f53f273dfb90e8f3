"""Backbones: the registry and its networks, pixel ranges, pretrained weights and granularity transfer."""
