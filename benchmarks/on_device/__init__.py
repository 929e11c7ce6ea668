"""Whether the library does on a device what it does on the CPU."""
