"""The methods that are compared, and what each of them does to an image."""
