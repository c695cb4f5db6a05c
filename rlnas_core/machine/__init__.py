"""The lowest floor: devices, processes, files, and fingerprints of what a result depends on."""
