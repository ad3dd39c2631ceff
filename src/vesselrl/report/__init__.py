"""The final report: figures, tables and words, rendered as HTML and Markdown."""
