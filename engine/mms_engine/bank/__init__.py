"""Resident per-language weights: slots, eviction, and their storage on host and device."""
