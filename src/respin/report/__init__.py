"""Results as files: rows in CSV, tables and sections in Markdown, and the circumstances of a measurement."""
