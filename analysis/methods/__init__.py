"""Published methods for disc segmentation behind one interface: input preparation, networks, losses, named discs."""
