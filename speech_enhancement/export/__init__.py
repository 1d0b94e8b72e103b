"""Networks in the formats of other programs, proved on recordings."""
