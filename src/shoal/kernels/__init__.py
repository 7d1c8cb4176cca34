"""Everything hot: serial kernels over one block, compiled for each type and instruction set."""
