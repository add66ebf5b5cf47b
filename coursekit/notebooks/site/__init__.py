"""The course as a website of plain files: pages of the lectures, tables made from their records, a reference."""
