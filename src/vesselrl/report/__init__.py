"""The comparison of methods and the final report: tables, figures and words, as HTML and Markdown."""
