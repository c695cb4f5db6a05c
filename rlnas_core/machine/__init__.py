"""Devices, processes, files, and fingerprints of results; imports no other package of the library."""
