"""The comparison of methods and the final report: tables, figures, words; HTML and Markdown."""
