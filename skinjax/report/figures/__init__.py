"""Figures: functions that draw on matplotlib Axes, and the pictures that pages hold."""
