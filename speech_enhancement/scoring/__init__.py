"""What denoisers are worth: metrics, systems and reports."""
