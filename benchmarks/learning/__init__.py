"""Does learning arrive? Problems, candidate settings, and the table of what each reaches."""
