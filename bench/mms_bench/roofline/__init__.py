"""What hardware allows: work of the graphs from a bundle's sizes, against peaks and bandwidths."""
