"""Measurements of the export: tables of results, and the pages and plots made from them."""
