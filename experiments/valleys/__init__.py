"""Valleys: where minima are not isolated, counted, walked on and connected."""
