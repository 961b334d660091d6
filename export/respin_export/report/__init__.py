"""What is measured of the export, and how it is told: tables of results, pages and plots made from them."""
