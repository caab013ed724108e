"""Imported relatively."""

GREETING = "hello"
