"""What tests let other processes do: python -m children.kmeans <command> <arguments>."""
