"""Telling people in time: thresholds, their crossings, and the channels that carry the news."""
