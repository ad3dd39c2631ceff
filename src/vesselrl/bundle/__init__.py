"""A method in one folder or file, to be used without the project that made it."""
