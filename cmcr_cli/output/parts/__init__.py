"""What belongs to the hidden folders in which outputs are built."""
