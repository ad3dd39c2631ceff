"""A finished method on images without labels: masks, and how far each may be trusted."""
